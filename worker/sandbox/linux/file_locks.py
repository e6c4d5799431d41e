"""Locks that processes hold on files, as the kernel lists them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterable

from . import procfs


def held(pids: Collection[int]) -> list[tuple[int, int, int]]:
    """The locks of these processes: who holds each, and device and inode of its file."""
    found = []
    with contextlib.suppress(OSError):
        for line in procfs.read("/proc/locks").splitlines():
            fields = line.replace(" -> ", " ").split()
            with contextlib.suppress(ValueError, IndexError):
                pid = int(fields[4])
                if pid in pids:
                    major, minor, inode = fields[5].split(":")
                    found.append((pid, os.makedev(int(major, 16), int(minor, 16)), int(inode)))
    return found


def inside(pid: int, device: int, inode: int, folder: str) -> bool:
    """Whether a process has the file open below this folder; one that holds a lock has the file open."""
    where = f"/proc/{pid}/fd"
    with contextlib.suppress(OSError):
        for name in os.listdir(where):  # noqa: PTH208 - called 25 times a second
            with contextlib.suppress(OSError):
                stat = os.stat(f"{where}/{name}")  # noqa: PTH116
                if (stat.st_dev, stat.st_ino) == (device, inode):
                    return below(os.readlink(f"{where}/{name}"), folder)  # noqa: PTH115
    return True  # closed meanwhile, and the lock with it


def below(path: str, folder: str) -> bool:
    """Whether a path lies below a folder."""
    return path.startswith(folder + "/")


def devices(descriptors: Iterable[int]) -> set[int]:
    """The file systems of these descriptors."""
    found = set()
    for fd in descriptors:
        with contextlib.suppress(OSError):
            found.add(os.fstat(fd).st_dev)
    return found
