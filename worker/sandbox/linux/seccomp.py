"""The system call filter: the small assembler that makes a BPF program of the tables of calls.

Everything is allowed but what is listed: an allow-list breaks with every new C library. Refused calls fail with an
error number instead of killing, because libraries probe for features and go on without them.
"""

from __future__ import annotations

import errno
import functools
import struct
from collections.abc import Iterable
from typing import Final

from . import syscall_table

_ALLOW: Final = 0x7FFF0000
_KILL: Final = 0x80000000
_ERRNO: Final = 0x00050000

_AUDIT_ARCH: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

_CALLS: Final = {
    "clone": (56, 220),
    "socket": (41, 198),
    "socketpair": (53, 199),
    "ioctl": (16, 29),
    "prctl": (157, 167),
    "prlimit64": (302, 261),
    "personality": (135, 92),
}
#: every CLONE_NEW* flag that clone() takes, and CLONE_PARENT: a sister of the cell would be nobody's whom we count
_CLONE_DENIED: Final = 0x7E020000 | 0x8000
_AF_UNIX, _AF_INET, _AF_INET6 = 1, 2, 10
_SOCK_STREAM, _SOCK_SEQPACKET = 1, 5
_PROTOCOLS: Final = (0, 1, 6, 17, 58)  # any, ICMP, TCP, UDP, ICMPv6
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_PR_SET_DUMPABLE: Final = 4


class Assembler:
    """Collects BPF instructions; jumps are counted in instructions from the next one."""

    def __init__(self) -> None:
        self._code: list[tuple[int, int, int, int]] = []

    def load(self, offset: int) -> None:
        """Load a word of ``struct seccomp_data``."""
        self._code.append((0x20, 0, 0, offset))

    def load_arg(self, index: int) -> None:
        """Load the low word of an argument."""
        self.load(16 + 8 * index)

    def mask(self, bits: int) -> None:
        """Keep only ``bits`` of the loaded word."""
        self._code.append((0x54, 0, 0, bits))

    def if_equal(self, value: int, then: int = 0, otherwise: int = 0) -> None:
        """Jump by equality."""
        self._code.append((0x15, then, otherwise, value & 0xFFFFFFFF))

    def if_at_least(self, value: int, then: int = 0, otherwise: int = 0) -> None:
        """Jump by unsigned comparison."""
        self._code.append((0x35, then, otherwise, value))

    def answer(self, value: int) -> None:
        """End with this verdict."""
        self._code.append((0x06, 0, 0, value))

    def refuse(self, number: int = errno.EPERM) -> None:
        """End: the call fails with this error number."""
        self.answer(_ERRNO | number)

    def refuse_calls(self, numbers: Iterable[int], error: int = errno.EPERM) -> None:
        """Refuse each of these calls, the loaded word being the call's number."""
        for number in numbers:
            self.if_equal(number, 0, 1)
            self.refuse(error)

    def only_if(self, number: int, body: Assembler) -> None:
        """Run ``body`` for the call ``number``; it must end by an answer."""
        self.if_equal(number, 0, len(body._code))
        self._code.extend(body._code)

    def program(self) -> bytes:
        """The bytes the kernel takes."""
        return b"".join(struct.pack("HBBI", *instruction) for instruction in self._code)


@functools.cache
def build(machine: str, *, inet: bool, unix: bool, ipc: bool, unseen_memory: bool, shared_owner: bool = False) -> bytes:
    """Make the filter for one architecture; made once, in the zygote, and known to its forks.

    Args:
        machine: ``x86_64`` or ``aarch64``.
        inet: internet sockets may be made (a network namespace, or the operator, contains them).
        unix: unix sockets may be made; without a mount namespace they reach services of the host.
        ipc: System V and POSIX queues may be made; without an ipc namespace they stay on the host.
        unseen_memory: memory that belongs to no process's address space may be made (a cgroup counts it).
        shared_owner: files of the host belong to the cell's user, so that nothing of theirs may be changed.
    """
    out = Assembler()
    out.load(4)
    out.if_equal(_AUDIT_ARCH[machine], 1, 0)
    out.answer(_KILL)  # another architecture's numbers mean other calls
    out.load(0)
    if machine == "x86_64":
        out.if_at_least(0x40000000, 0, 1)  # the x32 numbers repeat the table
        out.refuse(errno.ENOSYS)
    out.refuse_calls(
        syscall_table.numbers(machine, syscall_table.DENIED, () if unix or inet else syscall_table.PASSING)
    )
    absent = (
        syscall_table.ABSENT,
        () if unseen_memory else syscall_table.UNSEEN_MEMORY,
        () if ipc else syscall_table.SHARED_OBJECTS,
    )
    out.refuse_calls(syscall_table.numbers(machine, *absent), errno.ENOSYS)
    out.refuse_calls(syscall_table.numbers(machine, syscall_table.IGNORED), 0)
    if shared_owner:
        for table, error in (
            (syscall_table.MODES, 0),
            (syscall_table.OWNERS, errno.EPERM),
            (syscall_table.ATTRIBUTES, errno.EOPNOTSUPP),
        ):
            out.refuse_calls(syscall_table.numbers(machine, table), error)
        for number in syscall_table.numbers(machine, syscall_table.ON_PROCESSES):
            out.only_if(number, _one_of(0, [0], errno.EPERM))
        for call, kind in syscall_table.ON_KINDS:
            out.only_if(syscall_table.numbers(machine, (call,))[0], _own(kind))
    column = syscall_table.MACHINES.index(machine)
    for name, body in {
        "clone": _masked(0, _CLONE_DENIED),
        "socket": _socket(unix=unix, inet=inet),
        "socketpair": _socketpair(),
        "ioctl": _none_of(1, (_TIOCSTI, _TIOCLINUX)),
        "prctl": _undumpable(),
        # another process's limits could be lowered until the kernel kills it: the run's own init
        "prlimit64": _one_of(0, [0], errno.EPERM),
        "personality": _one_of(0, [0, 0xFFFFFFFF], errno.EPERM),
    }.items():
        out.only_if(_CALLS[name][column], body)
    out.answer(_ALLOW)
    return out.program()


def _masked(arg: int, bits: int) -> Assembler:
    body = Assembler()
    body.load_arg(arg)
    body.mask(bits)
    body.if_equal(0, 1, 0)
    body.refuse()
    body.answer(_ALLOW)
    return body


def _one_of(arg: int, values: Iterable[int], error: int) -> Assembler:
    body = Assembler()
    body.load_arg(arg)
    for value in values:
        body.if_equal(value, 0, 1)
        body.answer(_ALLOW)
    body.refuse(error)
    return body


def _none_of(arg: int, values: Iterable[int]) -> Assembler:
    body = Assembler()
    body.load_arg(arg)
    for value in values:
        body.if_equal(value, 0, 1)
        body.refuse()
    body.answer(_ALLOW)
    return body


def _own(kind: int) -> Assembler:
    """Only the caller itself, which is 0 of this kind."""
    body = Assembler()
    for index, value in enumerate((kind, 0)):
        body.load_arg(index)
        body.if_equal(value, 1, 0)
        body.refuse()
    body.answer(_ALLOW)
    return body


def _socket(*, unix: bool, inet: bool) -> Assembler:
    # the kernel loads a module for a protocol that it has not: only those that everybody has
    body = Assembler()
    body.load_arg(0)
    if unix:
        body.if_equal(_AF_UNIX, 0, 1)
        body.answer(_ALLOW)
    if inet:
        body.if_equal(_AF_INET, 2, 0)
        body.if_equal(_AF_INET6, 1, 0)
    body.refuse(errno.EAFNOSUPPORT)
    if inet:
        body.load_arg(2)
        for protocol in _PROTOCOLS:
            body.if_equal(protocol, 0, 1)
            body.answer(_ALLOW)
        body.refuse(errno.EPROTONOSUPPORT)
    return body


def _socketpair() -> Assembler:
    # a datagram pair could still send to any named socket of the host
    body = Assembler()
    body.load_arg(0)
    body.if_equal(_AF_UNIX, 1, 0)
    body.refuse(errno.EAFNOSUPPORT)
    body.load_arg(1)
    body.mask(0xF)
    for kind in (_SOCK_STREAM, _SOCK_SEQPACKET):
        body.if_equal(kind, 0, 1)
        body.answer(_ALLOW)
    body.refuse()
    return body


def _undumpable() -> Assembler:
    # a process that is not dumpable hides its memory use from the sampler
    body = Assembler()
    body.load_arg(0)
    body.if_equal(_PR_SET_DUMPABLE, 1, 0)
    body.answer(_ALLOW)
    body.load_arg(1)
    body.if_equal(0, 0, 1)
    body.refuse()
    body.answer(_ALLOW)
    return body
