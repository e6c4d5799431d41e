"""Follow a job: one thread reads, whoever shows the job draws. An interrupt never reaches a connection."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from codeexec_magic.contract import ExecutionResult

if TYPE_CHECKING:
    from codeexec_magic.job import Job
    from codeexec_magic.store import JobState

#: how often the state is read: at first, so that a card comes as soon as it is due, and later (seconds)
_EARLY_STATE_S = 0.1
_STATE_S = 0.5
_EARLY_S = 0.6


class View(Protocol):
    """Something that shows a job."""

    def event(self, event: Mapping[str, Any]) -> None:
        """Show one event."""

    def state(self, state: JobState) -> None:
        """Show where the job stands."""

    def flush(self) -> None:
        """A batch of events is through."""


class SilentView:
    """Shows nothing; for following a job to its end only."""

    def event(self, event: Mapping[str, Any]) -> None:
        """Nothing."""

    def state(self, state: JobState) -> None:
        """Nothing."""

    def flush(self) -> None:
        """Nothing."""

    def finish(self, state: JobState, error: BaseException | None = None) -> None:
        """Nothing."""


class Watch:
    """Reads a job's events and state in a thread of its own."""

    def __init__(self, job: Job) -> None:
        self.job = job
        #: set once the job has ended and everything before was shown
        self.result: ExecutionResult | None = None
        self.final: JobState | None = None
        self._items: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._left = threading.Event()
        self._started = time.monotonic()
        self._due = self._started + _EARLY_STATE_S
        threading.Thread(target=self._read, name=f"codeexec-{job.id[:8]}", daemon=True).start()

    @property
    def ended(self) -> bool:
        """Whether the outcome has been shown."""
        return self.result is not None

    def show(self, view: View, timeout: float | None = None) -> bool:
        """Show the job until it ends.

        Args:
            view: where.
            timeout: seconds to stay at most.

        Returns:
            Whether it ended.

        Raises:
            CodeExecError: the broker was lost.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self.ended and (deadline is None or time.monotonic() < deadline):
            try:
                item = self._items.get(timeout=0.1)
            except queue.Empty:
                view.flush()
                continue
            while item is not None and not self.ended:
                self._draw(view, *item)
                try:
                    item = self._items.get_nowait()
                except queue.Empty:
                    break
            view.flush()
        return self.ended

    def leave(self) -> None:
        """Stop reading; the job is not touched."""
        self._left.set()

    def _draw(self, view: View, kind: str, value: Any) -> None:
        if kind == "event":
            view.event(value)
        elif kind == "state":
            view.state(value)
        elif kind == "end":
            self.final, self.result = value
        else:
            raise value

    def _read(self) -> None:
        try:
            result = self.job.follow(self._pass_on)
            self._items.put(("end", (self.job.state(), result)))
        except _LeftError:
            self._items.put(("end", (None, None)))
        except Exception as err:  # shown by whoever draws
            self._items.put(("error", err))

    def _pass_on(self, events: list[dict[str, Any]]) -> None:
        """Hand events on to whoever draws, and the state when it is due."""
        if self._left.is_set():
            raise _LeftError
        for event in events:
            self._items.put(("event", event))
            if event["type"] == "status":
                self._read_state()
        if time.monotonic() >= self._due:
            self._read_state()

    def _read_state(self) -> None:
        self._items.put(("state", self.job.state()))
        now = time.monotonic()
        self._due = now + (_EARLY_STATE_S if now - self._started < _EARLY_S else _STATE_S)


class _LeftError(Exception):
    """Nobody draws any more."""
