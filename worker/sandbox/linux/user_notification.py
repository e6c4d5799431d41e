"""Seccomp user notification: system calls that wait until a process outside of the filter has answered them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
from dataclasses import dataclass
from typing import Final

from . import procfs, syscalls

_RECEIVE, _SEND, _VALID = 0xC0502100, 0xC0182101, 0x40082102
#: struct seccomp_notif: id, thread, flags, call, architecture, instruction, six arguments
_NOTICE: Final = struct.Struct("=QIIiIQ6Q")
#: struct seccomp_notif_resp: id, value, negative error number, flags
_ANSWER: Final = struct.Struct("=QqiI")
_CONTINUE: Final = 1
PIDFD_GETFD: Final = 438


@dataclass(frozen=True)
class Notice:
    """A system call that waits."""

    id: int
    thread: int
    number: int
    args: tuple[int, ...]


def receive(listener: int) -> Notice | None:
    """The next call that waits; nothing if whoever made it is gone."""
    buffer = bytearray(_NOTICE.size)
    try:
        fcntl.ioctl(listener, _RECEIVE, buffer)
    except OSError:
        return None
    number, thread, _, call, _, _, *args = _NOTICE.unpack(buffer)
    return Notice(number, thread, call, tuple(args))


def go_on(listener: int, notice: Notice) -> None:
    """Let the kernel do the call. Only for calls that no other thread can change meanwhile."""
    _send(listener, _ANSWER.pack(notice.id, 0, 0, _CONTINUE))


def answer(listener: int, notice: Notice, error: int = 0) -> None:
    """Have the call succeed without being done, or fail with an error number."""
    _send(listener, _ANSWER.pack(notice.id, 0, -error, 0))


def waits(listener: int, notice: Notice) -> bool:
    """Whether the thread still waits, so that its number is still its own."""
    try:
        fcntl.ioctl(listener, _VALID, struct.pack("=Q", notice.id))
    except OSError:
        return False
    return True


def descriptor_of(pid: int, number: int) -> int:
    """A duplicate of another process's descriptor: the same open file.

    Args:
        pid: of the process, or of one of its threads.
        number: of the descriptor there.

    Raises:
        OSError: there is none, or the kernel refuses.
    """
    for line in procfs.read(f"/proc/{pid}/status").splitlines():
        if line.startswith("Tgid:"):
            pid = int(line.split()[1])
    process = os.pidfd_open(pid)
    try:
        return from_process(process, number)
    finally:
        os.close(process)


def from_process(process: int, number: int) -> int:
    """As :func:`descriptor_of`, of a process given by its descriptor."""
    return syscalls.syscall(PIDFD_GETFD, process, number, 0)


def _send(listener: int, data: bytes) -> None:
    with contextlib.suppress(OSError):  # a signal, or death, has ended the wait
        fcntl.ioctl(listener, _SEND, data)
