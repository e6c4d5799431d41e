"""The Linux system calls that the standard library lacks, by ctypes."""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
from typing import Any, Final

CLONE_NEWNS: Final = 0x00020000
CLONE_NEWCGROUP: Final = 0x02000000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWIPC: Final = 0x08000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000

MS_RDONLY: Final = 1
MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_NOEXEC: Final = 8
MS_BIND: Final = 4096
MS_REC: Final = 16384
MS_SLAVE: Final = 1 << 19
MNT_DETACH: Final = 2

PR_SET_PDEATHSIG: Final = 1
PR_SET_DUMPABLE: Final = 4
PR_SET_SECCOMP: Final = 22
PR_CAPBSET_DROP: Final = 24
PR_SET_CHILD_SUBREAPER: Final = 36
PR_SET_NO_NEW_PRIVS: Final = 38
PR_CAP_AMBIENT: Final = 47
_SECCOMP_FILTER: Final = 1
_NEW_LISTENER: Final = 8

_AT_FDCWD: Final = -100
_AT_EMPTY_PATH: Final = 0x1000
_AT_RECURSIVE: Final = 0x8000
_ATTRS: Final = {"ro": 1, "nosuid": 2, "nodev": 4, "noexec": 8}

#: numbers of calls without a C library wrapper; those above 400 are the same on every architecture
_NUMBERS: Final = {
    "x86_64": {"pivot_root": 155, "capset": 126, "seccomp": 317},
    "aarch64": {"pivot_root": 41, "capset": 91, "seccomp": 277},
}
OPEN_TREE: Final = 428
MOVE_MOUNT: Final = 429
CLOSE_RANGE: Final = 436
MOUNT_SETATTR: Final = 442
IO_URING_SETUP: Final = 425
IO_URING_REGISTER: Final = 427
LANDLOCK_CREATE_RULESET: Final = 444
LANDLOCK_ADD_RULE: Final = 445
LANDLOCK_RESTRICT_SELF: Final = 446

#: the C library, for calls that need no wrapper of their own
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
#: more than there are: the kernel numbers them in 64 bits
_CAPABILITIES: Final = 64


def machine() -> str:
    """The architecture's name as the tables of this package spell it."""
    name = os.uname().machine
    return {"arm64": "aarch64", "amd64": "x86_64"}.get(name.lower(), name)


def syscall(number: int, *args: Any) -> int:
    """Make a system call.

    Raises:
        OSError: the kernel refused.
    """
    # plain integers would be passed as 32-bit C ints
    wide = [ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in args]
    result = int(libc.syscall(ctypes.c_long(number), *wide))
    if result < 0:
        raise _error(f"syscall {number}")
    return result


def unshare(flags: int) -> None:
    """Enter new namespaces."""
    if libc.unshare(flags) != 0:
        raise _error("unshare")


def setns(fd: int, kind: int) -> None:
    """Enter an existing namespace."""
    if libc.setns(fd, kind) != 0:
        raise _error("setns")


def mount(source: str, target: str, kind: str | None, flags: int, data: str = "") -> None:
    """Mount ``source`` on ``target``."""
    kind_bytes = kind.encode() if kind else None
    if libc.mount(source.encode(), target.encode(), kind_bytes, ctypes.c_ulong(flags), data.encode() or None) != 0:
        raise _error(f"mount {target}")


def unmount(target: str) -> None:
    """Take a mount out of the tree; it goes away with its last user."""
    if libc.umount2(target.encode(), MNT_DETACH) != 0:
        raise _error(f"umount {target}")


def pivot_root(new: str, old: str) -> None:
    """Make ``new`` the root, the former one being found at ``old``."""
    syscall(_NUMBERS[machine()]["pivot_root"], new.encode(), old.encode())


def open_tree(path: str) -> int:
    """A detached copy of the mount tree at ``path``, for :func:`move_mount`."""
    return syscall(OPEN_TREE, _AT_FDCWD, path.encode(), os.O_CLOEXEC | 1 | _AT_RECURSIVE)


def move_mount(tree: int, target: str) -> None:
    """Attach a detached mount tree."""
    syscall(MOVE_MOUNT, tree, b"", _AT_FDCWD, target.encode(), 4)


def restrict_mount(tree: int, *names: str) -> None:
    """Set attributes (``ro``, ``nosuid``, ``nodev``, ``noexec``) on a mount and all below it.

    A bind remount would reach the topmost mount only.
    """
    attr = struct.pack("QQQQ", sum(_ATTRS[name] for name in names), 0, 0, 0)
    syscall(MOUNT_SETATTR, tree, b"", _AT_EMPTY_PATH | _AT_RECURSIVE, attr, len(attr))


def prctl(option: int, value: int = 0, third: int = 0) -> None:
    """Set an attribute of this process."""
    args = [ctypes.c_ulong(n) for n in (value, third, 0, 0)]
    if libc.prctl(option, *args) != 0:
        raise _error(f"prctl {option}")


def close_fds(keep: set[int]) -> None:
    """Close every descriptor that is not in ``keep``."""
    low = 0
    for fd in [*sorted(keep), 1 << 31]:
        if fd > low:
            syscall(CLOSE_RANGE, low, fd - 1, 0)
        low = fd + 1


def drop_bounding_set() -> None:
    """Make sure that no program this process executes can gain a capability.

    Refused to whoever lacks CAP_SETPCAP, as an ordinary user always did: then there is nothing to drop.
    """
    for capability in range(_CAPABILITIES):
        if libc.prctl(PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0) != 0:
            break  # refused, or beyond the last that this kernel knows


def drop_capabilities(*, bounding: bool = True) -> None:
    """Give up every capability, for this process and whatever it executes.

    Args:
        bounding: also what a program that it executes could gain.
    """
    if bounding:
        drop_bounding_set()
    prctl(PR_CAP_AMBIENT, 4)
    header = struct.pack("Ii", 0x20080522, 0)
    syscall(_NUMBERS[machine()]["capset"], header, struct.pack("IIIIII", 0, 0, 0, 0, 0, 0))


def install_filter(program: bytes, *, listen: bool = False) -> int:
    """Install a seccomp program on this process for good.

    Args:
        program: of BPF instructions.
        listen: make a descriptor on which the calls that wait for an answer arrive.

    Returns:
        that descriptor, or 0

    Raises:
        OSError: the kernel refuses; with EBUSY because it has given such a descriptor to somebody already.
    """
    count = len(program) // 8
    buffer = ctypes.create_string_buffer(program, len(program))
    fprog = struct.pack("HxxxxxxQ", count, ctypes.addressof(buffer))
    holder = ctypes.create_string_buffer(fprog, len(fprog))
    if listen:
        return syscall(_NUMBERS[machine()]["seccomp"], _SECCOMP_FILTER, _NEW_LISTENER, holder)
    if libc.prctl(PR_SET_SECCOMP, ctypes.c_ulong(2), ctypes.c_ulong(ctypes.addressof(holder)), 0, 0) != 0:
        raise _error("seccomp")
    return 0


def set_hostname(name: str) -> None:
    """Name the machine in this uts namespace."""
    if libc.sethostname(name.encode(), len(name)) != 0:
        raise _error("sethostname")


def loopback_up() -> None:
    """Bring up ``lo`` in this network namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, 0x8914, struct.pack("16sH14x", b"lo", 0x1 | 0x40))


def kernel() -> tuple[int, int]:
    """Major and minor version of the running kernel."""
    major, minor = os.uname().release.split(".")[:2]
    return int(major), int("".join(c for c in minor if c.isdigit()) or 0)


def _error(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")
