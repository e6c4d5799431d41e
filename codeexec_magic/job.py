"""One submitted cell: its state, its events, its outcome."""

from __future__ import annotations

import asyncio
import contextlib
import html
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

from codeexec_magic.connection import Connection
from codeexec_magic.contract import ExecutionResult, Status
from codeexec_magic.errors import (
    ClusterError,
    CodeExecError,
    JobFailed,
    JobNotFound,
    JobTimeout,
    RemoteCancelled,
    RemoteError,
)
from codeexec_magic.event_reader import Event, EventReader
from codeexec_magic.hostile_text import one_line
from codeexec_magic.store import JobState, Submission
from codeexec_magic.store.snapshot import last_attempt
from codeexec_magic.values.files import download
from codeexec_magic.values.received import ReceivedValues
from codeexec_magic.values.ref import FileRef

#: how long a task that awaits a job may hold on after it was cancelled (seconds)
_AWAIT_TICK_S = 0.5


class Job:
    """A handle on a job; it can be made anew from the id, by any process (``client.job(id)``)."""

    def __init__(self, connection: Connection, task_id: str, queue: str, submission: Submission | None = None) -> None:
        self.connection = connection
        self.id = task_id
        self.queue = queue
        #: what was known at submission; None for a job looked up by id
        self.submission = submission
        known = submission.result if submission else None
        self._result: ExecutionResult | None = known and self.readable(known)

    @property
    def status(self) -> Status:
        """Where the job stands now."""
        known = self._outcome()
        return known.status if known else self.connection.store.snapshot(self.id).status

    def _outcome(self) -> ExecutionResult | None:
        """The result that is known here, unless the job is a dead letter that was requeued since, by whomever."""
        known = self._result
        if known is not None and known.status is Status.DEAD_LETTERED:
            with contextlib.suppress(CodeExecError):  # expired, or the broker is away: what is known stands
                if self.connection.store.snapshot(self.id).status is not Status.DEAD_LETTERED:
                    self._result = None
        return self._result

    @property
    def done(self) -> bool:
        """Whether the job has its outcome."""
        return self.status.terminal

    def state(self) -> JobState:
        """A snapshot: status, place in line, worker, times, attempts.

        Raises:
            JobNotFound: it has expired.
        """
        return self.connection.store.snapshot(self.id).state()

    def follow(self, show: Callable[[list[Event]], None], tick: float = 0.1) -> ExecutionResult:
        """Show everything that happens to the job, from the start, until it has ended.

        Args:
            show: called with the events of every read, the ``end`` event left out; with none when nothing came for a
                ``tick``. What it raises ends the following.
            tick: seconds.

        Returns:
            The outcome.

        Raises:
            BrokerUnreachable: the broker has been away for a minute.
            JobNotFound: it has expired.
        """
        reader = self._reader()
        seen: list[Event] = []
        while not reader.ended:
            events = reader.read(tick)
            seen += events
            show([event for event in events if event["type"] != "end"])
        return self._close(seen)

    def _reader(self, after: str = "0") -> EventReader:
        return EventReader(self.connection, self.id, self.submission, after)

    def _close(self, events: list[Event]) -> ExecutionResult:
        """The outcome, from all events of the job, the last of which is the ``end`` event."""
        result = ExecutionResult.from_dict({**events[-1]["result"], "outputs": last_attempt(events)})
        self._result = self.readable(result)
        return self._result

    def events(self, after: str = "0") -> Iterator[Event]:
        """Events from the start, then live, up to the ``end`` event.

        Args:
            after: id of the last event already seen.
        """
        reader = self._reader(after)
        while not reader.ended:
            yield from reader.read(1.0)

    def stream(self) -> Iterator[str]:
        """Lines of standard output and error as they come, without their newline."""
        rest = {"stdout": "", "stderr": ""}
        for event in self.events():
            if event["type"] == "stream":
                *lines, rest[event["name"]] = (rest[event["name"]] + event["text"]).split("\n")
                yield from lines
        yield from (text for text in rest.values() if text)

    def result(self, timeout: float | None = None) -> ExecutionResult:
        """Wait for the outcome, whatever it is; ``raise_for_status`` turns a failure into an exception.

        Args:
            timeout: seconds; None waits for ever.

        Raises:
            JobTimeout: it has not ended in time; it goes on.
            JobNotFound: it has expired.
        """
        if (known := self._outcome()) is not None:
            return known
        if timeout is None:
            return self.follow(lambda _: None, 1.0)
        deadline = time.monotonic() + timeout

        def check_time(_: list[Event]) -> None:
            if time.monotonic() >= deadline:
                raise JobTimeout(f"job {self.id} has not ended after {timeout:g} s; it goes on (status {self.status})")

        return self.follow(check_time, max(0.01, min(1.0, timeout)))

    def readable(self, result: ExecutionResult) -> ExecutionResult:
        """The result with values that can be read."""
        values = ReceivedValues(result.values, result.value_problems, lambda: self.connection.values)
        return replace(result, values=values)

    def files(self) -> list[FileRef]:
        """The files that came back: path, size and mode of each. Waits for the outcome."""
        return list(self.result().files)

    def download(self, pattern: str = "*", to: str | PathLike[str] = ".", *, overwrite: bool = False) -> list[Path]:
        """Write files that came back into a folder here. Waits for the outcome.

        Args:
            pattern: of their paths, such as ``figures/*.png``, or a folder.
            to: the folder; it is made if need be.
            overwrite: replace files that exist.

        Returns:
            where they were written

        Raises:
            BadRequest: no file matches, or one exists, or leads out of the folder.
            ValueLost: one has expired.
            ClusterError: the store cannot be reached.
        """
        return download(self.result(), pattern, Path(to), lambda: self.connection.values, overwrite=overwrite)

    def raise_for_status(self, timeout: float | None = None) -> ExecutionResult:
        """Wait for the outcome and return it if the cell succeeded.

        Raises:
            RemoteError: the cell raised; shows the remote traceback.
            RemoteCancelled: the job was cancelled.
            JobFailed: a limit or a crash ended it.
            JobTimeout: it has not ended in time.
        """
        result = self.result(timeout)
        if result.success:
            return result
        if result.status is Status.CANCELLED:
            raise RemoteCancelled(f"job {self.id} was cancelled", result)
        if result.error is not None:
            raise RemoteError(result.error.ename, result.error.evalue, list(result.error.traceback), result)
        raise JobFailed(f"job {self.id} {result.status}: {result.verdict or result.reason}", result)

    def cancel(self) -> Status:
        """Cancel; safe in every state and any number of times.

        Returns:
            The status after the call: ``running`` while the worker is killing it, else a terminal one.
        """
        status = self.connection.store.cancel(self.id)
        if status is Status.CANCELLED:
            snapshot = self.connection.store.snapshot(self.id)
            self.connection.results.record([snapshot.result()])
        return status

    def __await__(self) -> Generator[Any, None, ExecutionResult]:
        return self._awaited().__await__()

    async def _awaited(self) -> ExecutionResult:
        # step by step: a thread that waited for the end could not be left, not even when the loop is closed
        if (known := self._outcome()) is not None:
            return known
        reader = self._reader()
        events: list[Event] = []
        while not reader.ended:
            events += await asyncio.to_thread(reader.read, _AWAIT_TICK_S)
        return self._close(events)

    def __repr__(self) -> str:
        try:
            return f"<Job {one_line(self.id)} {self.status} on {one_line(self.queue)}>"
        except JobNotFound:
            return f"<Job {one_line(self.id)} expired>"
        except ClusterError:
            return f"<Job {one_line(self.id)} on {one_line(self.queue)}, broker not reachable>"

    def _repr_html_(self) -> str:
        from codeexec_magic.display.render import advice, card_html

        try:
            state = self.state()
        except (JobNotFound, ClusterError):
            return f"<code>{html.escape(repr(self))}</code>"
        return card_html(state, notes=advice(state))
