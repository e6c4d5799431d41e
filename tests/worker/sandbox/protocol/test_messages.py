"""Messages: their wire form, and what is no message."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st
from weakened import without

from codeexec_magic.limits import Limits
from worker import sandbox
from worker.sandbox.protocol import messages
from worker.sandbox.protocol.weakening import Weakening
from worker.sandbox.run_handle import wire_limits

LIMITS = wire_limits(Limits())
KINDS = list(get_args(messages.Message))


def example(hint: Any) -> Any:
    """A value for a field of this type."""
    simple: dict[Any, Any] = {int: 7, float: 0.5, str: "\ud800 é", bool: True, messages.CellLimits: LIMITS}
    simple |= {Weakening: without("env"), messages.Json: {"a": [1, None]}, tuple[str, ...]: ("x", "y")}
    return next((value for kind, value in simple.items() if kind == hint), None)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_message_survives_the_wire(kind: Any) -> None:
    """What is decoded equals what was encoded, types included."""
    message = kind._make([example(hint) for hint in get_type_hints(kind).values()])
    decoded = messages.decode(messages.encode(message))
    assert type(decoded) is kind
    assert decoded == message
    assert [type(one) for one in decoded] == [type(one) for one in message]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind._fields], ids=lambda kind: kind.__name__)
def test_a_field_too_few_or_of_another_type_is_refused(kind: Any) -> None:
    """No receiver meets half a message."""
    hints = list(get_type_hints(kind).values())
    good = [example(hint) for hint in hints]
    wrong: Any = {} if "list" in str(hints[-1]) else [[1]]
    for bad in (good[:-1], [*good, None], [*good[:-1], wrong]):
        with pytest.raises(messages.BadMessage):
            messages.decode(json.dumps([kind.__name__, *bad]).encode())


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b"7", b'["Nobody"]', b'[["Kill"]]', b"[" * 100_000, b"\xff", b'["Forked",true]']
)
def test_what_is_no_message(data: bytes) -> None:
    """One named error for all of it."""
    with pytest.raises(messages.BadMessage):
        messages.decode(data)


@given(st.binary(max_size=200))
def test_any_bytes_decode_or_are_refused(data: bytes) -> None:
    """Nothing but the named error ever comes out of other bytes."""
    with contextlib.suppress(messages.BadMessage):
        messages.decode(data)


def test_limits_travel_whole() -> None:
    """The wire form has the fields of the limits, in their order; whole numbers stay whole."""
    assert messages.CellLimits._fields == tuple(field.name for field in fields(Limits))
    assert wire_limits(Limits(memory_mb=512.0)).memory_mb == 512  # type: ignore[arg-type]
    assert isinstance(wire_limits(Limits(memory_mb=512.0)).memory_mb, int)  # type: ignore[arg-type]


def test_only_the_tests_leave_guards_out() -> None:
    """The empty value is everybody's; any other is refused to whoever is not the tests' own module."""
    assert not any(Weakening())
    assert without("seccomp").seccomp
    with pytest.raises(RuntimeError, match="only the tests"):
        Weakening(seccomp=True)


def test_messages_cost_the_small_process_nothing() -> None:
    """Process 1 of the namespaces is forked for every run: what it imports is paid for with each."""
    code = f"""
import sys, types
package = types.ModuleType("sandbox"); package.__path__ = [{str(Path(sandbox.__file__).parent)!r}]
sys.modules["sandbox"] = package
import sandbox.zygote.entry
print([name for name in ("dataclasses", "inspect", "IPython", "asyncio") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
