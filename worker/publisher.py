"""Carries a cell's output to its event stream while it runs, in few round trips."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any, Protocol

from codeexec_magic.contract import Reason
from codeexec_magic.errors import ClusterError
from codeexec_magic.store import JobStore

Event = dict[str, Any]

#: output waits at most this long for more to travel with it (seconds)
LINGER_S = 0.03
#: events kept while the broker is away; what comes after that is counted and dropped
MAX_WAITING = 20_000


class _Run(Protocol):
    def cancel(self, reason: Reason = ...) -> None: ...


class Publisher:
    """Collects the events of one attempt; a thread of its own sends them, so that a slow broker never blocks the cell.

    The thread starts with the first flush that is due: a cell that ends before that costs none.

    Args:
        store: the job store.
        task_id: the job.
        attempt: the open attempt.
    """

    def __init__(self, store: JobStore, task_id: str, attempt: str) -> None:
        self.store, self.task_id, self.attempt = store, task_id, attempt
        #: every event of the attempt, in order
        self.kept: list[Event] = []
        #: events that could not be kept
        self.dropped = 0
        self._sent = 0
        self._changed = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None
        self._run: _Run | None = None

    @contextlib.contextmanager
    def attached(self, run: _Run) -> Iterator[None]:
        """Publish while the block runs; orders that come back (cancel, fenced) go to ``run``."""
        self._run = run
        try:
            yield
        finally:
            with self._changed:
                self._closed = True
                self._changed.notify()
            if self._thread is not None:
                self._thread.join()

    def add(self, event: Event) -> None:
        """Take one event from the sandbox."""
        with self._changed:
            if len(self.kept) - self._sent >= MAX_WAITING:
                self.dropped += 1
                return
            last = self.kept[-1] if len(self.kept) > self._sent else None
            if (
                last
                and event["type"] == "stream" == last["type"]
                and event["name"] == last["name"]
                and len(last["text"]) < 8192
            ):
                last["text"] += event["text"]
            else:
                self.kept.append(dict(event))
            if self._thread is None:
                self._thread = threading.Thread(target=self._send, name=f"publish-{self.task_id[:8]}", daemon=True)
                self._thread.start()
            self._changed.notify()

    def rest(self) -> list[Event]:
        """What has not been sent; goes with the finish."""
        return self.kept[self._sent :]

    def _send(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or len(self.kept) > self._sent)
                self._changed.wait_for(lambda: self._closed, LINGER_S)
                if self._closed:
                    return
                batch = self.kept[self._sent :]
                # later output must not be joined to an event that is on its way
                self._sent = len(self.kept)
            try:
                answer = self.store.emit(self.task_id, self.attempt, batch)
            except ClusterError:
                with self._changed:
                    self._sent -= len(batch)
                    self._changed.wait_for(lambda: self._closed, 0.5)
                continue
            if answer != "ok" and self._run is not None:
                self._run.cancel(Reason.CANCELLED)
