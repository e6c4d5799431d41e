"""Carries the output of running cells to their event streams, in few round trips."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from typing import Any, Protocol

from codeexec_magic.contract import Reason
from codeexec_magic.errors import BrokerFull, ClusterError
from codeexec_magic.store import JobStore
from codeexec_magic.store.room import Room, removed
from codeexec_magic.store.scripts import dumps

log = logging.getLogger("codeexec")

Event = dict[str, Any]

#: output travels at most this long after it was written (seconds); a cell that ends sooner sends it with its outcome
TICK_S = 0.025
#: neighbouring chunks of one stream are joined up to this many characters
MAX_CHUNK = 8192


class Cancellable(Protocol):
    """A sandbox run."""

    def cancel(self, reason: Reason = ...) -> None:
        """Kill it."""


class Publisher:
    """The events of one attempt, and how many of them are in Redis.

    It keeps them all, for as long as the broker is away: the sandbox has bounded their number and their bytes, and has
    marked what it cut. A second bound here would give readers different outputs.

    Args:
        store: the job store.
        task_id: the job.
        attempt: the open attempt.
    """

    def __init__(self, store: JobStore, task_id: str, attempt: str) -> None:
        self.store, self.task_id, self.attempt = store, task_id, attempt
        #: every event of the attempt, in order
        self.kept: list[Event] = []
        #: bytes of output for which the server had no room
        self.removed = 0
        self._sent = 0
        self._tried = 0  # events a send was begun for: it may have arrived although its reply did not
        self._lock = threading.Lock()
        self._sending = threading.Lock()

    def add(self, event: Event) -> None:
        """Take one event from the sandbox; never blocks on the broker."""
        with self._lock:
            # what is on its way, or may have arrived, must not change any more: only other events are joined
            last = self.kept[-1] if len(self.kept) > self._tried else None
            if last and _joins(last, event):
                last["text"] += event["text"]
            else:
                self.kept.append(dict(event))

    @property
    def sent(self) -> int:
        """How many of the events are known to be in Redis."""
        return self._sent

    def rest(self) -> list[Event]:
        """What has not been sent; goes with the finish."""
        return self.kept[self._sent :]

    def give_up(self) -> None:
        """Put one marker in the place of what has not been sent: there is no room for it."""
        with self._sending, self._lock:
            if self.removed:
                return
            self.removed = sum(len(dumps(event)) for event in self.kept[self._sent :])
            if self.removed:
                self.kept[self._sent :] = [removed(self.removed)]
            self._tried = self._sent

    def flush(self) -> str:
        """Send what has come since the last time. Returns the store's answer, ``ok`` if there was nothing to send.

        Raises:
            ClusterError: the broker is away; nothing is lost.
        """
        with self._sending:
            with self._lock:
                first, batch = self._sent, self.kept[self._sent :]
                self._sent = self._tried = len(self.kept)
            if not batch:
                return "ok"
            try:
                return self.store.emit(self.task_id, self.attempt, batch, first)
            except ClusterError:
                with self._lock:
                    self._sent -= len(batch)
                raise

    def settle(self) -> None:
        """Wait for a flush that is under way."""
        with self._sending:
            pass


def _joins(last: Event, event: Event) -> bool:
    return bool(
        event["type"] == last["type"] == "stream"
        and event["name"] == last["name"]
        and len(last["text"]) + len(event["text"]) <= MAX_CHUNK
    )


class Flusher(threading.Thread):
    """One thread that flushes the publishers of all running cells, and sleeps while none runs.

    It ticks instead of being woken by every event: a print costs the cell's slot no hand-over between threads.

    Args:
        room: makes room when the server's memory is full.
    """

    def __init__(self, room: Room) -> None:
        super().__init__(name="codeexec-publish", daemon=True)
        self._room = room
        self._active: dict[Publisher, Cancellable] = {}
        self._lock = threading.Lock()
        self._some = threading.Event()
        self._stop_asked = threading.Event()

    @contextlib.contextmanager
    def publishing(self, publisher: Publisher, run: Cancellable) -> Iterator[None]:
        """Flush while the block runs; an order that comes back (cancel, fenced) goes to ``run``."""
        with self._lock:
            self._active[publisher] = run
            self._some.set()
        try:
            yield
        finally:
            with self._lock:
                del self._active[publisher]
                if not self._active:
                    self._some.clear()
            publisher.settle()

    def run(self) -> None:
        """Tick until stopped."""
        while not self._stop_asked.is_set():
            self._some.wait()
            self._stop_asked.wait(TICK_S)
            with self._lock:
                active = list(self._active.items())
            for publisher, run in active:
                try:
                    if publisher.flush() != "ok":
                        run.cancel(Reason.CANCELLED)
                except BrokerFull:
                    self._make_room()
                except ClusterError as err:
                    log.debug("publish: %s", err)
                    self._stop_asked.wait(0.5)
                except Exception:
                    # this thread serves every cell of the worker: it may not end
                    log.exception("output of job %s could not be published", publisher.task_id)

    def _make_room(self) -> None:
        try:
            made = self._room.make()
        except ClusterError as err:
            log.debug("room: %s", err)
            made = False
        if not made:
            self._stop_asked.wait(0.5)

    def stop(self) -> None:
        """End the thread soon."""
        self._stop_asked.set()
        self._some.set()
