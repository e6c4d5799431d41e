"""A process that holds on to the cell's memory, so that nobody waits while the kernel takes it apart.

A process counts as ended only when its address space is unmapped, 2 to 3 ms for one with hundreds of libraries. The
holder shares the cell's address space and sleeps: the cell's end is then a matter of microseconds, and the memory goes
with the holder, when the run's process namespace is killed and the answer is already on its way.

It is made last, under all guards and limits, and can do nothing that a child of the cell could not: its memory is the
cell's to write to. No signal tells of its end, so that ``os.wait()`` in the cell does not wait for it.
"""

from __future__ import annotations

import ctypes
from typing import Final

from ..linux import syscalls

_STACK: Final = 16 << 10
_CLONE_VM: Final = 0x100
_SIG_SETMASK: Final = 2
#: room for a ``sigset_t`` of any C library
_SET: Final = 128
_pause: Final = ctypes.cast(syscalls.libc.pause, ctypes.c_void_p)
_all: Final = ctypes.create_string_buffer(b"\xff" * _SET, _SET)
_before: Final = ctypes.create_string_buffer(_SET)
_stack: Final = ctypes.create_string_buffer(_STACK)
_top: Final = ctypes.c_void_p((ctypes.addressof(_stack) + _STACK) & ~0xF)


def start() -> None:
    """Start the holder. Without one, where a limit or the kernel refuses, the cell only ends more slowly."""
    # none of the cell's handlers may ever run in it: they would write to memory the cell is using
    syscalls.libc.pthread_sigmask(_SIG_SETMASK, _all, _before)
    syscalls.libc.clone(_pause, _top, _CLONE_VM, None)
    syscalls.libc.pthread_sigmask(_SIG_SETMASK, _before, None)
