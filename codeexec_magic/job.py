"""One submitted cell: its state, its events, its outcome."""

from __future__ import annotations

import asyncio
import html
import time
from collections.abc import Generator, Iterator
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codeexec_magic.contract import ExecutionResult, Status
from codeexec_magic.errors import (
    BrokerUnreachable,
    ClusterError,
    JobFailed,
    JobNotFound,
    JobTimeout,
    RemoteCancelled,
    RemoteError,
)
from codeexec_magic.hostile_text import one_line
from codeexec_magic.store import JobState, Submission
from codeexec_magic.values.files import download
from codeexec_magic.values.received import ReceivedValues
from codeexec_magic.values.ref import FileRef

if TYPE_CHECKING:
    from codeexec_magic.client import Client

Event = dict[str, Any]

#: how often a job that shares another one's run looks whether it was cancelled by itself (seconds)
_SELF_CHECK_S = 0.5
#: how long a task that awaits a job may hold on after it was cancelled (seconds)
_AWAIT_TICK_S = 0.5
_NO_MORE: Event = {}
#: how long a reader waits for a broker that went away (seconds)
OUTAGE_PATIENCE_S = 60.0


class Job:
    """A handle on a job; it can be made anew from the id, by any process (``client.job(id)``)."""

    def __init__(self, client: Client, task_id: str, queue: str, submission: Submission | None = None) -> None:
        self.client = client
        self.id = task_id
        self.queue = queue
        #: what was known at submission; None for a job looked up by id
        self.submission = submission
        known = submission.result if submission else None
        self._result: ExecutionResult | None = known and self.readable(known)

    @property
    def status(self) -> Status:
        """Where the job stands now."""
        return self._result.status if self._result else self.client.store.snapshot(self.id).status

    @property
    def done(self) -> bool:
        """Whether the job has its outcome."""
        return self.status.terminal

    def state(self) -> JobState:
        """A snapshot: status, place in line, worker, times, attempts.

        Raises:
            JobNotFound: it has expired.
        """
        return self.client.store.snapshot(self.id).state()

    def follow(self, tick: float = 0.1, after: str = "0") -> Iterator[Event | None]:
        """Events from the start, then live, up to the ``end`` event; None whenever nothing came for ``tick`` seconds.

        Args:
            tick: seconds.
            after: id of the last event already seen.
        """
        if self.submission and self.submission.result and after == "0":
            yield from self.submission.events_before_end()
            yield self._end(self.submission.result)
            return
        trail = _EventCursor(self, after)
        away_since: float | None = None
        while not trail.ended:
            try:
                events = trail.read(tick)
                away_since = None
            except BrokerUnreachable:
                # the job goes on without us: wait for the broker, or start the embedded cluster again
                away_since = away_since or time.monotonic()
                if time.monotonic() - away_since > OUTAGE_PATIENCE_S:
                    raise
                if self.client.embedded:
                    self.client.close()
                time.sleep(min(tick, 0.2))
                events = []
            yield from events
            if not events:
                yield None

    def _run_id(self) -> str:
        if self.submission and self.submission.outcome == "queued":
            return self.id
        return self.client.store.snapshot(self.id).run_id

    @staticmethod
    def _end(result: ExecutionResult) -> Event:
        return {"type": "end", "status": str(result.status), "result": result.as_dict(outputs=False)}

    def events(self, after: str = "0") -> Iterator[Event]:
        """Events from the start, then live, until the job has ended."""
        for event in self.follow(1.0, after):
            if event is not None:
                yield event

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
        if self._result is not None:
            return self._result
        deadline = None if timeout is None else time.monotonic() + timeout
        events: list[Event] = []
        tick = 1.0 if timeout is None else max(0.01, min(1.0, timeout))
        for event in self.follow(tick):
            if event is None:
                if deadline is not None and time.monotonic() >= deadline:
                    raise JobTimeout(
                        f"job {self.id} has not ended after {timeout:g} s; it goes on (status {self.status})"
                    )
            elif event["type"] == "end":
                self._result = self._collect(event, events)
                return self._result
            else:
                events.append(event)
        raise JobNotFound(f"no job {self.id}")

    def _collect(self, end: Event, events: list[Event]) -> ExecutionResult:
        from codeexec_magic.store.snapshot import last_attempt

        return self.readable(ExecutionResult.from_dict({**end["result"], "outputs": last_attempt(events)}))

    def readable(self, result: ExecutionResult) -> ExecutionResult:
        """The result with values that can be read."""
        values = ReceivedValues(result.values, result.value_problems, lambda: self.client.values)
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
        return download(self.result(), pattern, Path(to), lambda: self.client.values, overwrite=overwrite)

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
        status = self.client.store.cancel(self.id)
        if status is Status.CANCELLED:
            snapshot = self.client.store.snapshot(self.id)
            self.client.results.record([snapshot.result()])
        return status

    def __await__(self) -> Generator[Any, None, ExecutionResult]:
        return self._awaited().__await__()

    async def _awaited(self) -> ExecutionResult:
        # step by step: a thread that waited for the end could not be left, not even when the loop is closed
        events: list[Event] = []
        following = self.follow(_AWAIT_TICK_S)
        while self._result is None:
            event = await asyncio.to_thread(next, following, _NO_MORE)
            if event is _NO_MORE:
                raise JobNotFound(f"no job {self.id}")
            if event is not None and event["type"] == "end":
                self._result = self._collect(event, events)
            elif event is not None:
                events.append(event)
        return self._result

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


class _EventCursor:
    """Where a reader stands in the events of a job.

    Args:
        job: the job.
        after: id of the last event already seen.
    """

    def __init__(self, job: Job, after: str) -> None:
        self.job, self.after = job, after
        self.ended = False
        self._run: str | None = None
        self._checked = time.monotonic()

    def read(self, tick: float) -> list[Event]:
        """The next events, waiting up to ``tick`` seconds for the first one; sets ``ended`` with the last."""
        store = self.job.client.store
        if self._run is None:
            self._run = self.job._run_id()
        events: list[Event] = []
        for event in store.events(self._run, self.after, round(tick * 1000)):
            self.after = event["id"]
            if event["type"] == "handover":
                # the followers moved to another run; the leader itself, and followers that stay with it, read on
                run = self.job._run_id()
                if run == self._run:
                    continue
                self._run, self.after = run, "0"
                return events
            if event["type"] == "end":
                self.ended = True
                return [*events, self._own(event)]
            events.append(event)
        # a job that shares a run may be cancelled by itself, and events may expire before they are read
        if (self._run != self.job.id or not events) and time.monotonic() - self._checked > _SELF_CHECK_S:
            events += self._look(events)
        return events

    def _look(self, read: list[Event]) -> list[Event]:
        self._checked = time.monotonic()
        store = self.job.client.store
        snapshot = store.snapshot(self.job.id)
        if snapshot.run_id != self._run:
            self._run, self.after = None, "0"
        elif snapshot.status.terminal and not read and not store.events(snapshot.run_id, self.after):
            self.ended = True
            return [self.job._end(snapshot.result(store.events(snapshot.run_id)))]
        return []

    def _own(self, event: Event) -> Event:
        """The end event of a run as this job's own."""
        result = event.get("result")
        if isinstance(result, dict) and result.get("task_id") == self.job.id:
            return event
        return {**self.job._end(self.job.client.store.snapshot(self.job.id).result()), "id": event["id"]}
