"""What a tree of processes uses right now, read from /proc where no control group counts it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from typing import Final

from . import processes, procfs

_TICK: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
#: sockets that cannot hold much; to look into each costs a walk through all of the machine's
_FEW_SOCKETS: Final = 64
#: page tables of a process, in bytes, that no ordinary cell needs: they map 32 GB
_MANY_TABLES: Final = 64 << 20


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


def sockets(pid: int) -> int:
    """Bytes that wait, roughly, in the internet sockets of a process's network namespace, where there are many."""
    where, found = f"/proc/{pid}/net", 0
    with contextlib.suppress(OSError, ValueError, IndexError):
        words = (procfs.read(f"{where}/sockstat") + procfs.read(f"{where}/sockstat6")).split()
        if sum(int(words[at + 1]) for at, word in enumerate(words) if word == "inuse") > _FEW_SOCKETS:
            for name in ("tcp", "tcp6", "udp", "udp6"):
                for line in procfs.read(f"{where}/{name}").splitlines()[1:]:
                    sent, _, received = line.split()[4].partition(":")
                    found += int(sent, 16) + int(received, 16)
    return 2 * found  # the kernel's packets are twice as large as what is in them, or more


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


class Meter:
    """Processor time of a tree, as far as can be seen also of those that nobody waited for: who ignores the end of
    its children gets none of their time.
    """

    def __init__(self) -> None:
        self._own: dict[int, int] = {}
        self._gone = 0  #: of processes whose number is another's by now

    def read(self, root: int, pids: Iterable[int]) -> float:
        """Seconds of everything below ``root`` so far: that lives, was waited for, or was seen alive."""
        living = waited = 0
        for pid in (root, *pids):
            with contextlib.suppress(OSError, ValueError, IndexError):
                fields = procfs.read(f"/proc/{pid}/stat").rpartition(")")[2].split()
                waited += int(fields[13]) + int(fields[14])
                # of the root only what it inherited from the dead counts: its own time is not the cell's
                if pid != root:
                    own = int(fields[11]) + int(fields[12])
                    living += own
                    if own < (before := self._own.get(pid, 0)):
                        self._gone += before
                    self._own[pid] = own
        return max(living + waited, self._gone + sum(self._own.values())) / _TICK


def tasks_of_user(uid: int) -> int:
    """Processes and threads that belong to a user."""
    count = 0
    for name in os.listdir("/proc"):  # noqa: PTH208
        if name.isdigit():
            with contextlib.suppress(OSError):
                if os.stat(f"/proc/{name}").st_uid == uid:  # noqa: PTH116
                    count += len(os.listdir(f"/proc/{name}/task"))  # noqa: PTH208
    return count


def share(pid: int) -> int:
    """Bytes of memory of a process, what it shares with others counted in proportion, and its page tables."""
    where = _living(pid)
    if where is None:
        return 0
    tables = _page_tables(where)
    try:
        # tables of untouched memory cost little to fill and long to walk: nobody's cell may hold the launcher up
        if tables < _MANY_TABLES:
            for line in procfs.read(f"{where}/smaps_rollup").splitlines():
                if line.startswith("Pss:"):
                    return (int(line.split()[1]) << 10) + tables
    except OSError:
        pass  # a program that may not be read hides its share, never its size
    return _resident(where) + tables


def resident(pid: int) -> int:
    """Bytes of a process in memory, shared ones included."""
    return _resident(f"/proc/{pid}")


def _living(pid: int) -> str | None:
    """Where to read of a process's memory: of one whose first thread has ended only the others know."""
    if _resident(f"/proc/{pid}"):
        return f"/proc/{pid}"
    tasks = (f"/proc/{pid}/task/{task}" for task in processes.tasks(pid))
    return next((task for task in tasks if _resident(task)), None)


def _resident(where: str) -> int:
    with contextlib.suppress(OSError, IndexError, ValueError):
        return int(procfs.read(f"{where}/statm").split()[1]) * _PAGE
    return 0


def _page_tables(where: str) -> int:
    with contextlib.suppress(OSError, IndexError, ValueError):
        return int(procfs.read(f"{where}/status").partition("VmPTE:")[2].split()[0]) << 10
    return 0
