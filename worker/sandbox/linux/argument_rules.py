"""What the filter asks of arguments, where it depends on them whose resource a system call is about."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from typing import Final

from .bpf import ALLOW, NOTIFY, Assembler, failure

#: every CLONE_NEW* flag that clone() takes, and CLONE_PARENT: a sister of the cell would be nobody's whom we count
_CLONE_DENIED: Final = 0x7E020000 | 0x8000
_CLONE_FILES, _CLONE_THREAD = 0x400, 0x10000
_AF_UNIX, _AF_INET, _AF_INET6 = 1, 2, 10
_SOCK_STREAM, _SOCK_SEQPACKET = 1, 5
_PROTOCOLS: Final = (0, 1, 6, 17, 58)  # any, ICMP, TCP, UDP, ICMPv6
_RLIMIT_CORE: Final = 4
_POSIX_FADV_DONTNEED: Final = 4
_MADV_MERGEABLE: Final = 12
_PR_SET_DUMPABLE: Final = 4

#: commands of fcntl() on what the cell has opened. Not among them: F_NOTIFY tells what others do with a folder,
#: leases hold up whoever opens a file, and locks that belong to an open file have no process that answers for them
FCNTL: Final = (
    *(0, 1030, 1027, 1, 2, 3, 4),  # F_DUPFD, F_DUPFD_CLOEXEC, F_DUPFD_QUERY, F_GETFD, F_SETFD, F_GETFL, F_SETFL
    *(5, 6, 7),  # F_GETLK, F_SETLK, F_SETLKW: the launcher watches that they are on files of the cell
    *(9, 11, 16),  # F_GETOWN, F_GETSIG, F_GETOWN_EX
    *(1031, 1032, 1033, 1034),  # F_SETPIPE_SZ, F_GETPIPE_SZ, F_ADD_SEALS, F_GET_SEALS
)
#: whom a descriptor signals; of the cell only where the numbers of others mean nothing
FCNTL_OWNERS: Final = (8, 10, 15)  # F_SETOWN, F_SETSIG, F_SETOWN_EX
#: commands of ioctl(): terminals of the cell, what waits in pipes and sockets, flags of descriptors, names and
#: addresses of interfaces. Attributes of files, file systems, disks and devices are not the cell's
IOCTL: Final = (
    *(0x5401, 0x5402, 0x5403, 0x5404, 0x5405, 0x5406, 0x5407, 0x5408, 0x802C542A, 0x402C542B, 0x402C542C, 0x402C542D),
    *(0x5409, 0x540A, 0x540B, 0x540C, 0x540D, 0x540E, 0x540F, 0x5410, 0x5411, 0x5413, 0x5414, 0x541B),
    *(0x5420, 0x5421, 0x5422, 0x5425, 0x5429, 0x5441, 0x5450, 0x5451, 0x5452, 0x80045430, 0x40045431, 0x80045438),
    *(0x8905, 0x8906, 0x8907, 0x8910, 0x8912, 0x8913, 0x8915, 0x8917, 0x8919, 0x891B, 0x8921, 0x8927, 0x8933, 0x8942),
)
#: options of prctl() about the caller alone. Not among them: more filters, scheduling cookies that empty a core for
#: one user, and merging of pages, which tells what a neighbour's memory holds
PRCTL: Final = (
    *(1, 2, 3, 7, 8, 15, 16, 21, 23, 24, 25, 26, 27, 28, 29, 30, 33, 34, 36, 37, 38, 39, 40, 41, 42, 45, 46, 47),
    *(50, 51, 52, 53, 54, 55, 56, 60, 61, 63, 64, 65, 66, 74, 75, 76, 0x53564D41, 0x59616D61, 0x41555856),
)


def clone(*, supervised: bool) -> Assembler:
    """Threads and processes, in no new namespace.

    Args:
        supervised: a new process waits for the launcher, which counts them.
    """
    body = Assembler()
    body.load_arg(0)
    body.mask(_CLONE_DENIED)
    body.if_equal(0, 1, 0)
    body.refuse()
    # two processes with one table of descriptors: no lock could be laid at the door of either
    body.load_arg(0)
    body.mask(_CLONE_FILES | _CLONE_THREAD)
    body.if_equal(_CLONE_FILES, 0, 1)
    body.refuse()
    if supervised:
        body.mask(_CLONE_THREAD)
        body.if_equal(0, 0, 1)
        body.answer(NOTIFY)
    body.answer(ALLOW)
    return body


def one_of(arg: int, values: Iterable[int], error: int) -> Assembler:
    """Only calls in which the argument is one of these.

    Args:
        arg: its place, from 0.
        values: of its low word, which is all that the kernel looks at.
        error: that the others fail with.
    """
    body = Assembler()
    body.load_arg(arg)
    for value in values:
        body.if_equal(value, 0, 1)
        body.answer(ALLOW)
    body.refuse(error)
    return body


def none_of(arg: int, values: Iterable[int], error: int) -> Assembler:
    """Only calls in which the argument is none of these; the arguments are as for :func:`one_of`."""
    body = Assembler()
    body.load_arg(arg)
    for value in values:
        body.if_equal(value, 0, 1)
        body.refuse(error)
    body.answer(ALLOW)
    return body


def own(kind: int) -> Assembler:
    """Only the caller itself, which is 0 of this kind."""
    body = Assembler()
    for index, value in enumerate((kind, 0)):
        body.load_arg(index)
        body.if_equal(value, 1, 0)
        body.refuse()
    body.answer(ALLOW)
    return body


def socket(*, unix: bool, inet: bool) -> Assembler:
    """Sockets of the families there are, with usual protocols: the kernel would load a module for another."""
    body = Assembler()
    body.load_arg(0)
    if unix:
        body.if_equal(_AF_UNIX, 0, 1)
        body.answer(ALLOW)
    if inet:
        body.if_equal(_AF_INET, 2, 0)
        body.if_equal(_AF_INET6, 1, 0)
    body.refuse(errno.EAFNOSUPPORT)
    if inet:
        body.load_arg(2)
        for protocol in _PROTOCOLS:
            body.if_equal(protocol, 0, 1)
            body.answer(ALLOW)
        body.refuse(errno.EPROTONOSUPPORT)
    return body


def socketpair() -> Assembler:
    """Pairs with a connection: a datagram pair could still send to any named socket of the host."""
    body = Assembler()
    body.load_arg(0)
    body.if_equal(_AF_UNIX, 1, 0)
    body.refuse(errno.EAFNOSUPPORT)
    body.load_arg(1)
    body.mask(0xF)
    for kind in (_SOCK_STREAM, _SOCK_SEQPACKET):
        body.if_equal(kind, 0, 1)
        body.answer(ALLOW)
    body.refuse()
    return body


def prctl() -> Assembler:
    """Options about the caller; it stays dumpable, else the sampler could not see its memory."""
    body = Assembler()
    body.load_arg(0)
    for option in PRCTL:
        body.if_equal(option, 0, 1)
        body.answer(ALLOW)
    body.if_equal(_PR_SET_DUMPABLE, 1, 0)
    body.refuse(errno.EINVAL)
    body.load_arg(1)
    body.if_equal(0, 0, 1)
    body.refuse()
    body.answer(ALLOW)
    return body


def setrlimit(arg: int) -> Assembler:
    """Limits of the caller, except the limit of core files, which nobody may change.

    That limit is 1, and there are no core files; 0 would again have them piped to the host's program for core dumps.

    Args:
        arg: the place of the limit's number.
    """
    body = Assembler()
    body.load_arg(arg)
    body.if_equal(_RLIMIT_CORE, 0, 1)
    body.refuse()
    body.answer(ALLOW)
    return body


def prlimit() -> Assembler:
    """The caller's own limits: another's could be lowered until the kernel kills it, the run's own init."""
    body = Assembler()
    body.load_arg(0)
    body.if_equal(0, 1, 0)
    body.refuse()
    body.load_arg(1)
    body.if_equal(_RLIMIT_CORE, 1, 0)
    body.answer(ALLOW)
    for high in (False, True):  # without a new value it is read
        body.load_arg(2, high=high)
        body.if_equal(0, 1, 0)
        body.refuse()
    body.answer(ALLOW)
    return body


def fadvise() -> Assembler:
    """Advice, but to forget pages that everybody who reads the file shares; advice may be ignored, and that one is."""
    body = Assembler()
    body.load_arg(3)
    body.if_equal(_POSIX_FADV_DONTNEED, 0, 1)
    body.answer(failure(0))
    body.answer(ALLOW)
    return body


def madvise() -> Assembler:
    """Advice, but to merge pages with equal ones of others, as from a kernel that cannot."""
    return none_of(2, (_MADV_MERGEABLE,), errno.EINVAL)


def flagged(refused: int) -> Assembler:
    """preadv2() and pwritev2() without these flags.

    RWF_NOWAIT tells which files others have read, RWF_DONTCACHE makes the machine forget them.
    """
    body = Assembler()
    body.load_arg(5)
    body.mask(refused)
    body.if_equal(0, 1, 0)
    body.refuse(errno.EOPNOTSUPP)
    body.answer(ALLOW)
    return body
