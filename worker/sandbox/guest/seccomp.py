"""The system call filter: a readable table, and the small assembler that makes a BPF program of it.

Everything is allowed but what is listed: an allow-list breaks with every new C library. Refused calls fail with an
error number instead of killing, because libraries probe for features and go on without them.
"""

from __future__ import annotations

import errno
import functools
import struct
from collections.abc import Iterable
from typing import Final

_ALLOW: Final = 0x7FFF0000
_KILL: Final = 0x80000000
_ERRNO: Final = 0x00050000

_AUDIT_ARCH: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

#: refused with EPERM wherever they exist: (name, x86_64, aarch64); None: not on that architecture
DENIED: Final[tuple[tuple[str, int | None, int | None], ...]] = (
    # other processes' memory, descriptors and registers
    ("ptrace", 101, 117),
    ("process_vm_readv", 310, 270),
    ("process_vm_writev", 311, 271),
    ("kcmp", 312, 272),
    ("pidfd_getfd", 438, 438),
    ("process_madvise", 440, 440),
    ("process_mrelease", 448, 448),
    # keys outlive the process that made them
    ("add_key", 248, 217),
    ("request_key", 249, 218),
    ("keyctl", 250, 219),
    # large attack surface of the kernel; io_uring also goes round this filter
    ("bpf", 321, 280),
    ("perf_event_open", 298, 241),
    ("userfaultfd", 323, 282),
    ("io_uring_setup", 425, 425),
    ("io_uring_enter", 426, 426),
    ("io_uring_register", 427, 427),
    # namespaces and mounts
    ("setns", 308, 268),
    ("unshare", 272, 97),
    ("mount", 165, 40),
    ("umount2", 166, 39),
    ("pivot_root", 155, 41),
    ("chroot", 161, 51),
    ("open_tree", 428, 428),
    ("move_mount", 429, 429),
    ("fsopen", 430, 430),
    ("fsconfig", 431, 431),
    ("fsmount", 432, 432),
    ("fspick", 433, 433),
    ("mount_setattr", 442, 442),
    ("statmount", 457, 457),
    ("listmount", 458, 458),
    ("open_tree_attr", 467, 467),
    ("open_by_handle_at", 304, 265),
    ("fanotify_init", 300, 262),
    ("fanotify_mark", 301, 263),
    ("quotactl", 179, 60),
    ("quotactl_fd", 443, 443),
    # the machine
    ("kexec_load", 246, 104),
    ("kexec_file_load", 320, 294),
    ("init_module", 175, 105),
    ("finit_module", 313, 273),
    ("delete_module", 176, 106),
    ("create_module", 174, None),
    ("swapon", 167, 224),
    ("swapoff", 168, 225),
    ("reboot", 169, 142),
    ("acct", 163, 89),
    ("syslog", 103, 116),
    ("settimeofday", 164, 170),
    ("clock_settime", 227, 112),
    ("clock_adjtime", 305, 266),
    ("adjtimex", 159, 171),
    ("sethostname", 170, 161),
    ("setdomainname", 171, 162),
    ("vhangup", 153, 58),
    ("iopl", 172, None),
    ("ioperm", 173, None),
    ("modify_ldt", 154, None),
    ("uselib", 134, None),
    ("ustat", 136, None),
    ("sysfs", 139, None),
    ("_sysctl", 156, None),
    ("nfsservctl", 180, 42),
    ("lookup_dcookie", 212, 18),
    # memory placement: side channels between neighbours
    ("mbind", 237, 235),
    ("set_mempolicy", 238, 237),
    ("migrate_pages", 256, 238),
    ("move_pages", 279, 239),
    ("set_mempolicy_home_node", 450, 450),
)
#: refused as if the kernel were too old, so that libraries take their other way
ABSENT: Final[tuple[tuple[str, int, int], ...]] = (("clone3", 435, 435), ("memfd_secret", 447, 447))
#: objects that outlive the run; refused only where there is no ipc namespace
SHARED_OBJECTS: Final[tuple[tuple[str, int, int], ...]] = (
    ("shmget", 29, 194),
    ("msgget", 68, 186),
    ("semget", 64, 190),
    ("mq_open", 240, 180),
)
#: memory that sampling cannot see; refused only where there is no memory cgroup
UNSEEN_MEMORY: Final[tuple[tuple[str, int, int], ...]] = (("memfd_create", 319, 279), ("shmget", 29, 194))

#: changes of modes and times that a file's owner may make without opening it, which Landlock does not see. Only where
#: the cell's user is the worker's own, and then ignored as on a file system without them: copying a file must work
MODES: Final[tuple[tuple[str, int | None, int | None], ...]] = (
    ("chmod", 90, None),
    ("fchmod", 91, 52),
    ("fchmodat", 268, 53),
    ("fchmodat2", 452, 452),
    ("utime", 132, None),
    ("utimes", 235, None),
    ("futimesat", 261, None),
    ("utimensat", 280, 88),
)
#: of the same kind, but with an error that programs know from such file systems
OWNERS: Final[tuple[tuple[str, int | None, int | None], ...]] = (
    ("chown", 92, None),
    ("fchown", 93, 55),
    ("lchown", 94, None),
    ("fchownat", 260, 54),
)
ATTRIBUTES: Final[tuple[tuple[str, int, int], ...]] = (
    ("setxattr", 188, 5),
    ("lsetxattr", 189, 6),
    ("fsetxattr", 190, 7),
    ("removexattr", 197, 14),
    ("lremovexattr", 198, 15),
    ("fremovexattr", 199, 16),
    ("setxattrat", 463, 463),
    ("removexattrat", 466, 466),
    ("file_setattr", 469, 469),
)

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
    column = ("x86_64", "aarch64").index(machine)
    out = Assembler()
    out.load(4)
    out.if_equal(_AUDIT_ARCH[machine], 1, 0)
    out.answer(_KILL)  # another architecture's numbers mean other calls
    out.load(0)
    if machine == "x86_64":
        out.if_at_least(0x40000000, 0, 1)  # the x32 numbers repeat the table
        out.refuse(errno.ENOSYS)
    numbers = [row[1] if column == 0 else row[2] for row in DENIED]
    out.refuse_calls(number for number in numbers if number is not None)
    absent = [*ABSENT, *(() if unseen_memory else UNSEEN_MEMORY), *(() if ipc else SHARED_OBJECTS)]
    out.refuse_calls(sorted({row[1] if column == 0 else row[2] for row in absent}), errno.ENOSYS)
    if shared_owner:
        for rows, error in ((MODES, 0), (OWNERS, errno.EPERM), (ATTRIBUTES, errno.EOPNOTSUPP)):
            out.refuse_calls((row[1 + column] for row in rows if row[1 + column] is not None), error)  # type: ignore[misc]
    families = [_AF_UNIX] * unix + [_AF_INET, _AF_INET6] * inet
    for name, body in {
        "clone": _masked(0, _CLONE_DENIED),
        "socket": _one_of(0, families, errno.EAFNOSUPPORT),
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
