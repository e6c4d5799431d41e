"""What a worker's monitors are told of itself: its memory, and how long its sandboxes take to start."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil

from .sandbox.fastfork import tuning

#: reading the memory of a tree of processes costs milliseconds: not with every heartbeat (seconds)
_MEMORY_S = 15.0


class MemoryUsage:
    """Of this process and everything below it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._starts, self._start_ms = 0, 0.0
        self._memory_mb, self._read_at = 0.0, float("-inf")

    def started(self, milliseconds: float) -> None:
        """A sandbox had a cell's code after so long."""
        with self._lock:
            self._starts += 1
            self._start_ms += milliseconds

    def fields(self) -> dict[str, object]:
        """For the heartbeat; ``sandbox_starts`` and ``sandbox_start_ms`` are totals."""
        now = time.monotonic()
        if now - self._read_at >= _MEMORY_S:
            self._memory_mb, self._read_at = memory_mb(os.getpid()), now
        with self._lock:
            return {
                "memory_mb": round(self._memory_mb, 1),
                "sandbox_starts": self._starts,
                "sandbox_start_ms": round(self._start_ms, 3),
            }


def memory_mb(pid: int) -> float:
    """Memory of a process and all below it, shared pages counted once."""
    try:
        top = psutil.Process(pid)
        return together_mb([pid, *(one.pid for one in top.children(recursive=True))])
    except psutil.Error:
        return 0.0


def together_mb(pids: Iterable[int]) -> float:
    """Memory of processes, what they share with each other counted once.

    The zygote's heap is a file in memory, which counts whole, also where nobody has it mapped.

    Args:
        pids: parents before their children.
    """
    own = shared = file = 0.0
    for pid in pids:
        try:
            sizes = dict(_sizes_kb(Path(f"/proc/{pid}/smaps_rollup")))
            # only the first process that has one counts, the zygote: a cell could give a file of its own that name
            file = file or tuning.heap_file_bytes(pid) / 1024
        except (OSError, ValueError, IndexError):
            continue  # gone meanwhile, or not ours to read: counted as nothing
        part = sizes.get("Pss_Shmem", 0.0)
        own, shared = own + sizes.get("Pss", 0.0) - part, shared + part
    return (own + max(shared, file)) / 1024


def _sizes_kb(path: Path) -> Iterator[tuple[str, float]]:
    for line in path.read_text().splitlines():
        name, _, rest = line.partition(":")
        if name in ("Pss", "Pss_Shmem"):
            yield name, float(rest.split()[0])
