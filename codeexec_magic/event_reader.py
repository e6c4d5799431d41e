"""Reads the events of one job in order, whichever run answers for it and however often the broker goes away."""

from __future__ import annotations

import time
from typing import Any

from codeexec_magic.connection import Connection
from codeexec_magic.contract import ExecutionResult
from codeexec_magic.errors import BrokerUnreachable
from codeexec_magic.store import Submission

Event = dict[str, Any]

#: how long a reader waits for a broker that went away (seconds)
OUTAGE_PATIENCE_S = 60.0
#: how often a reader that waits for the broker looks again (seconds)
_OUTAGE_POLL_S = 0.2
#: how often a job that shares another one's run looks whether it was cancelled by itself (seconds)
_SELF_CHECK_S = 0.5


class EventReader:
    """Where a reader stands in the events of a job.

    Args:
        connection: to the cluster.
        task_id: the job.
        submission: what was known at submission; None for a job looked up by id.
        after: id of the last event already seen.
    """

    def __init__(
        self, connection: Connection, task_id: str, submission: Submission | None = None, after: str = "0"
    ) -> None:
        self.connection, self.task_id, self.submission, self.after = connection, task_id, submission, after
        #: set with the ``end`` event, which is the last
        self.ended = False
        self._run: str | None = None
        self._checked = time.monotonic()
        self._away_since: float | None = None

    def read(self, tick: float) -> list[Event]:
        """The next events; none if nothing came within ``tick`` seconds. Sets :attr:`ended` with the ``end`` event.

        Raises:
            BrokerUnreachable: the broker has been away for a minute.
            JobNotFound: the job has expired.
        """
        if self.submission and self.submission.result and self.after == "0":
            self.ended = True
            return [*self.submission.events_before_end(), _end(self.submission.result)]
        try:
            events = self._read(tick)
        except BrokerUnreachable:
            # the job goes on without us: wait for the broker, or start the embedded cluster again
            now = time.monotonic()
            self._away_since = self._away_since or now
            if now - self._away_since > OUTAGE_PATIENCE_S:
                raise
            if self.connection.embedded:
                self.connection.close()
            time.sleep(min(tick, _OUTAGE_POLL_S))
            return []
        self._away_since = None
        return events

    def _read(self, tick: float) -> list[Event]:
        if self._run is None:
            self._run = self._run_id()
        events: list[Event] = []
        for event in self.connection.store.events(self._run, self.after, round(tick * 1000)):
            self.after = event["id"]
            if event["type"] == "handover":
                # the followers moved to another run; the leader itself, and followers that stay with it, read on
                run = self._run_id()
                if run == self._run:
                    continue
                self._run, self.after = run, "0"
                return events
            if event["type"] == "end":
                self.ended = True
                return [*events, self._own(event)]
            events.append(event)
        # a job that shares a run may be cancelled by itself, and events may expire before they are read
        if (self._run != self.task_id or not events) and time.monotonic() - self._checked > _SELF_CHECK_S:
            events += self._look(events)
        return events

    def _run_id(self) -> str:
        """The job whose run answers for this one."""
        if self.submission and self.submission.outcome == "queued":
            return self.task_id
        return self.connection.store.snapshot(self.task_id).run_id

    def _look(self, read: list[Event]) -> list[Event]:
        self._checked = time.monotonic()
        store = self.connection.store
        snapshot = store.snapshot(self.task_id)
        if snapshot.run_id != self._run:
            self._run, self.after = None, "0"
        elif snapshot.status.terminal and not read and not store.events(snapshot.run_id, self.after):
            self.ended = True
            return [_end(snapshot.result(store.events(snapshot.run_id)))]
        return []

    def _own(self, event: Event) -> Event:
        """The end event of a run as this job's own."""
        result = event.get("result")
        if isinstance(result, dict) and result.get("task_id") == self.task_id:
            return event
        return {**_end(self.connection.store.snapshot(self.task_id).result()), "id": event["id"]}


def _end(result: ExecutionResult) -> Event:
    return {"type": "end", "status": str(result.status), "result": result.as_dict(outputs=False)}
