"""The processes below one process: finding them, and killing them where no namespace does it at once."""

from __future__ import annotations

import contextlib
import os
import signal
import time

from . import procfs


def descendants(root: int) -> list[int]:
    """Process ids below ``root``, parents first. Children that appear meanwhile may be missed."""
    found: list[int] = []
    todo = [root]
    while todo:
        pid = todo.pop()
        with contextlib.suppress(OSError):
            for task in tasks(pid):
                children = procfs.read(f"/proc/{pid}/task/{task}/children").split()
                new = [int(child) for child in children]
                found += new
                todo += new
    return found


def tasks(pid: int) -> list[str]:
    """Ids of a process's threads; none of a process that is gone."""
    try:
        return os.listdir(f"/proc/{pid}/task")  # noqa: PTH208 - called 25 times a second
    except OSError:
        return []


def kill_below(root: int, patience: float = 2.0) -> bool:
    """Kill everything below ``root``, which must be a subreaper, so that nothing slips out to other parents.

    All are stopped before any is killed: a chain that forks faster than it is listed stands still then.

    Returns:
        whether nothing is left
    """
    end = time.monotonic() + patience
    while time.monotonic() < end:
        stopped: set[int] = set()
        while new := [pid for pid in descendants(root) if pid not in stopped]:
            for pid in new:
                _signal(pid, signal.SIGSTOP)
            stopped.update(new)
        for pid in stopped:
            _signal(pid, signal.SIGKILL)
        if os.getpid() == root:
            reap()
        if not [pid for pid in descendants(root) if _alive(pid)]:
            return True
        time.sleep(0.001)
    return False


def kill_strays(root: int) -> None:
    """Kill children of ``root`` with a system call filter more than it has itself: cells whose init is gone.

    An init has as many as the zygote, which in a container need not be none.
    """
    usual = _filters(root)
    for pid in descendants(root):
        with contextlib.suppress(OSError):
            if _filters(pid) > usual and _parent(pid) == root:
                _signal(pid, signal.SIGSTOP)
                kill_below(pid)
                _signal(pid, signal.SIGKILL)


def _filters(pid: int) -> int:
    for line in procfs.read(f"/proc/{pid}/status").splitlines():
        if line.startswith("Seccomp_filters:"):
            return int(line.split()[1])
    return 0


def _parent(pid: int) -> int:
    return int(procfs.read(f"/proc/{pid}/stat").rpartition(")")[2].split()[1])


def reap() -> list[tuple[int, int, int]]:
    """Collect children that have ended: their ids, wait statuses and most memory in bytes."""
    ended = []
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
            if not pid:
                break
            ended.append((pid, status, usage.ru_maxrss << 10))
    return ended


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _alive(pid: int) -> bool:
    try:
        return procfs.read(f"/proc/{pid}/stat").rpartition(")")[2].split()[0] not in "ZX"
    except (OSError, IndexError):
        return False
