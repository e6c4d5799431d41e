"""Counts the processes of a run, those included that were allowed to start but cannot be seen yet."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from typing import Final

from ..linux import procfs
from ..linux.user_notification import Notice

#: after this time a thread that runs without a pause counts as having come back from its call (seconds)
_RUNNING_S: Final = 5.0


class ProcessCount:
    """How many processes a run has, and whether it may start one more.

    Between the answer to a call and the moment at which the kernel lists the new process, on a busy machine many
    milliseconds, other threads ask. Each allowed call is therefore pending until its process is seen or its thread
    is known to be back from the call. Which pending call a new process belongs to is not known, so new processes are
    kept as a number that is subtracted from the pending calls: the count may be too high for a moment, never too low.
    """

    def __init__(self, present: Callable[[], Iterable[int]], most: int) -> None:
        """Begin with the processes that are there.

        Args:
            present: lists the run's processes.
            most: how many of them there may be at a time.
        """
        self._present, self._most = present, most
        self._seen: set[int] = set()
        self._pending: dict[int, tuple[int, float]] = {}  #: by thread: the call's number, and when it was allowed
        self._arrived = 0  #: processes that were seen since, each of one of the pending calls

    def admit(self, notice: Notice) -> bool:
        """Whether the call may start a process; if so, the process counts from now on."""
        if self._count({notice.thread}) >= self._most:  # its call before this one has ended
            back = {thread for thread, call in self._pending.items() if _is_back(thread, *call)}
            if self._count(back) >= self._most:
                return False
        self._pending[notice.thread] = (notice.number, time.monotonic())
        return True

    def _count(self, back: set[int]) -> int:
        """The processes that are there or may be on their way.

        Args:
            back: threads whose calls ended before this moment, so that their processes are listed unless they ended.
        """
        present = set(self._present())
        self._arrived = min(self._arrived + len(present - self._seen), len(self._pending))
        self._seen = present
        for thread in back:
            if self._pending.pop(thread, None) is not None and self._arrived:
                self._arrived -= 1
        return len(present) + len(self._pending) - self._arrived


class Walk:
    """Lists a run's processes where no control group does, by walks from parents to children.

    A thread that ends during a walk hands its children to a thread that may have been read before. So there are two
    walks each time, and a process that was found once is listed until it is gone.
    """

    def __init__(self, pids: Callable[[], Iterable[int]]) -> None:
        self._pids = pids
        self._found: set[int] = set()

    def __call__(self) -> set[int]:
        there = {pid for pid in self._found if os.path.exists(f"/proc/{pid}")}  # noqa: PTH110 - many times a second
        self._found = there.union(self._pids(), self._pids())
        return self._found


def _is_back(thread: int, number: int, allowed_at: float) -> bool:
    """Whether a thread has left the call that was allowed."""
    try:
        state = procfs.read(f"/proc/{thread}/syscall").split()
    except (FileNotFoundError, ProcessLookupError):
        return True
    except OSError:  # not to be read here, for lack of a permission: as if it ran
        state = ["running"]
    if state[0] == "running":
        return time.monotonic() - allowed_at > _RUNNING_S
    return state[0] != str(number)
