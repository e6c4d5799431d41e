"""What a tree of processes uses right now, read from /proc where no control group counts it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from .guest import tree

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
            stat = os.fstatvfs(fd)
            total += (stat.f_blocks - stat.f_bfree) * stat.f_frsize
    return total


def cpu(root: int, pids: Iterable[int]) -> float:
    """Processor seconds of everything below ``root`` that lives or was waited for."""
    ticks = 0
    for pid in (root, *pids):
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
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


def share(pid: int) -> int:
    """Bytes of memory of a process, what it shares with others counted in proportion."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) << 10
    except OSError:
        # a program that may not be read hides its share, never its size
        return resident(pid)
    return 0


def resident(pid: int) -> int:
    """Bytes of a process in memory, shared ones included."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    return 0
