"""What a worker's monitors are told of itself: its memory, and how long its sandboxes take to start."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import psutil

#: reading the memory of a tree of processes costs milliseconds: not with every heartbeat (seconds)
_MEMORY_S = 15.0


class Footprint:
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
        pids = [pid, *(one.pid for one in top.children(recursive=True))]
    except psutil.Error:
        return 0.0
    return sum(map(_share_kb, pids)) / 1024


def _share_kb(pid: int) -> float:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return float(line.split()[1])
    except (OSError, ValueError, IndexError):
        pass  # gone meanwhile, or not ours to read: counted as nothing
    return 0.0
