"""The name that tells a launcher from every other process, also from a later one with the same id."""

from __future__ import annotations

import os
from pathlib import Path


def mark(pid: int | None = None) -> str:
    """What a launcher names everything after that could outlive it.

    Args:
        pid: of the launcher; this process by default.

    Raises:
        OSError: there is no such process.
    """
    number = os.getpid() if pid is None else pid
    return f"{number}.{_started(number)}"


def dead(text: str) -> bool:
    """Whether this is the mark of a process that is no more; what is no mark belongs to nobody we know."""
    pid, _, started = text.partition(".")
    if not (pid.isdecimal() and started.isdecimal()):
        return False
    try:
        return _started(int(pid)) != int(started)
    except OSError:
        return True


def _started(pid: int) -> int:
    """Clock ticks from the machine's start to the process's."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
