"""What a tree of processes uses right now, read from /proc where no control group counts it."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from .guest import kernfile, tree

_TICK: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


def memory(pids: Iterable[int], scratch: Iterable[int]) -> int:
    """Bytes of memory: each process's fair share, and what its file systems hold in memory."""
    return sum(share(pid) for pid in pids) + scratch_bytes(scratch)


def scratch_bytes(scratch: Iterable[int]) -> int:
    """Bytes held by memory file systems, given by descriptor."""
    total = 0
    for fd in scratch:
        with contextlib.suppress(OSError):
            space = os.fstatvfs(fd)
            total += (space.f_blocks - space.f_bfree) * space.f_frsize
    return total


def full(scratch: Iterable[int], names: Iterable[str]) -> str:
    """Which of these memory file systems' limits is used up: ``inodes``, or the name given to its size; or nothing."""
    for fd, name in zip(scratch, names, strict=False):
        with contextlib.suppress(OSError):
            space = os.fstatvfs(fd)
            if space.f_bfree * 100 < space.f_blocks:
                return name
            if not space.f_ffree:
                return "inodes"
    return ""


def cpu(root: int, pids: Iterable[int]) -> float:
    """Processor seconds of everything below ``root`` that lives or was waited for."""
    ticks = 0
    for pid in (root, *pids):
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = kernfile.read(f"/proc/{pid}/stat").rpartition(")")[2].split()
            # of the root only what it inherited from the dead counts: its own time is not the cell's
            ticks += sum(int(value) for value in (fields[13:15] if pid == root else fields[11:15]))
    return ticks / _TICK


def processes(root: int) -> list[int]:
    """Ids of everything below ``root``."""
    return tree.descendants(root)


def tasks_of_user(uid: int) -> int:
    """Processes and threads that belong to a user."""
    count = 0
    for name in os.listdir("/proc"):  # noqa: PTH208
        if name.isdigit():
            with contextlib.suppress(OSError):
                if os.stat(f"/proc/{name}").st_uid == uid:  # noqa: PTH116
                    count += len(os.listdir(f"/proc/{name}/task"))  # noqa: PTH208
    return count


def disk(folder: Path, most: int) -> tuple[int, int]:
    """Bytes and number of files below a folder, looking at no more than ``most`` of them."""
    size = count = 0
    todo = [str(folder)]
    while todo and count <= most:
        with contextlib.suppress(OSError), os.scandir(todo.pop()) as entries:
            for entry in entries:
                count += 1
                with contextlib.suppress(OSError):
                    size += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(entry.path)
    return size, count


def unlinked(pids: Iterable[int]) -> int:
    """Bytes of files that these processes hold open and that no folder has any more."""
    sizes: dict[tuple[int, int], int] = {}
    for pid in pids:
        with contextlib.suppress(OSError), os.scandir(f"/proc/{pid}/fd") as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    file = entry.stat()
                    if stat.S_ISREG(file.st_mode) and not file.st_nlink:
                        sizes[file.st_dev, file.st_ino] = file.st_blocks * 512
    return sum(sizes.values())


def share(pid: int) -> int:
    """Bytes of memory of a process, what it shares with others counted in proportion."""
    try:
        for line in kernfile.read(f"/proc/{pid}/smaps_rollup").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) << 10
    except OSError:
        # a program that may not be read hides its share, never its size
        return resident(pid)
    return 0


def resident(pid: int) -> int:
    """Bytes of a process in memory, shared ones included."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        return int(kernfile.read(f"/proc/{pid}/statm").split()[1]) * _PAGE
    return 0
