"""C functions called in a row, with nothing of the interpreter run in between.

Each call is a context of its own (``makecontext``), which ends in that of the next; the last ends where the first was
called. Only the GNU C library has this for 64-bit arguments; elsewhere there is no chain.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Sequence
from typing import Any, ClassVar, Final

from ..linux import syscalls

#: a C function of at most six integers or addresses, and what it is given
Call = tuple[Any, tuple[int, ...]]

#: more than a ``ucontext_t`` of the largest kind
_STATE: Final = 8 << 10
_STACK: Final = 16 << 10
_MACHINES: Final = ("x86_64", "aarch64")


class _Context(ctypes.Structure):
    """A ``ucontext_t``, as far as it is alike everywhere, and the stack that belongs to it."""

    _fields_: ClassVar = [
        ("flags", ctypes.c_ulong),
        ("link", ctypes.c_void_p),
        ("stack_start", ctypes.c_void_p),
        ("stack_flags", ctypes.c_int),
        ("stack_size", ctypes.c_size_t),
        ("state", ctypes.c_byte * (_STATE - 40)),
        ("stack", ctypes.c_byte * _STACK),
    ]


def possible() -> bool:
    """Whether :func:`call` works with this C library on this machine."""
    return hasattr(syscalls.libc, "makecontext") and syscalls.machine() in _MACHINES


def call(calls: Sequence[Call]) -> None:
    """Call them in this order. What they return is lost, so nothing may be called that can fail.

    Args:
        calls: not empty.
    """
    size = ctypes.sizeof(_Context)
    # shared, so that the kernel never makes one mapping of it and of memory that the calls may be about
    with mmap.mmap(-1, size * (len(calls) + 1)) as room:
        contexts = (_Context * (len(calls) + 1)).from_buffer(room)
        where = [ctypes.c_void_p(ctypes.addressof(contexts) + size * number) for number in range(len(calls) + 1)]
        for number, (function, arguments) in enumerate(calls):
            context = contexts[number]
            syscalls.libc.getcontext(where[number])
            context.link = where[number + 1]
            context.stack_start, context.stack_size = ctypes.addressof(context) + _STATE, _STACK
            wide = [ctypes.c_long(argument) for argument in arguments]
            syscalls.libc.makecontext(where[number], ctypes.cast(function, ctypes.c_void_p), len(wide), *wide)
        syscalls.libc.swapcontext(where[-1], where[0])
        del contexts, context
