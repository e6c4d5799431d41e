"""C functions in a row."""

from __future__ import annotations

import pytest
from support import in_fresh_interpreter


def test_calls_are_made_in_order_and_come_back() -> None:
    """Each C function gets its arguments, in turn, and the interpreter goes on after the last."""
    if not in_fresh_interpreter("print(json.dumps(call_chain.possible()))"):
        pytest.skip("this C library has no makecontext")
    code = """
near, far = os.pipe()
text = b"one two three"
at = ctypes.cast(text, ctypes.c_void_p).value
parts = [(far, at, 4), (far, at + 4, 4), (far, at + 8, 5)]
call_chain.call([(syscalls.libc.write, part) for part in parts])
print(json.dumps(os.read(near, 99).decode()))
"""
    assert in_fresh_interpreter(code) == "one two three"
