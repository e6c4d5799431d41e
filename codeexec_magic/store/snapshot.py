"""What a reader can know about a job: plain snapshots made from the record in Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from codeexec_magic.contract import (
    SCHEMA_VERSION,
    ExecutionRequest,
    ExecutionResult,
    Reason,
    Status,
    decode_request,
)
from codeexec_magic.errors import DecodeError
from codeexec_magic.store.outcomes import cancelled_result, unreadable_result
from codeexec_magic.store.record import attempts, iso, json_object, last_run_ms, number, waited_ms

#: a requeue by hand leaves words here that are no reason of an attempt
_REASONS = frozenset(str(reason) for reason in Reason)
_STATUSES = frozenset(str(status) for status in Status)


@dataclass(frozen=True)
class JobState:
    """One job at one moment. Times are seconds by the server's clock."""

    id: str
    status: Status
    queue: str
    label: str = ""
    code_hash: str = ""
    code: str = ""
    position: int | None = None  #: place in line, from 1
    listeners: int = 0  #: workers that listen on the queue
    worker: str | None = None
    attempt: int = 0  #: runs so far
    retries: int = 0  #: runs the policy allows after the first one
    failures: int = 0  #: failed runs that were retried
    crashes: int = 0  #: workers that died under it
    next_try_in_s: float | None = None
    submitted_at: float = 0.0
    waited_s: float = 0.0
    ran_s: float = 0.0
    cached: bool = False
    cached_age_s: float | None = None
    cached_from: str | None = None
    follows: str | None = None  #: the identical job whose run this one shares
    reason: Reason | None = None
    verdict: str = ""
    isolation_level: int | None = None
    cancelling: bool = False
    dropped: bool = False  #: it was a dead letter, which somebody dropped
    attempts: tuple[Mapping[str, Any], ...] = field(default=())
    changed: tuple[str, ...] = ()  #: inputs that are others than at the last run of this code
    files: tuple[tuple[str, int], ...] = ()  #: that came back: name and size
    left_behind: tuple[tuple[str, int], ...] = ()  #: that the cell wrote and nobody asked for

    @property
    def done(self) -> bool:
        """Whether the job has its outcome."""
        return self.status.terminal


@dataclass(frozen=True)
class Snapshot:
    """A job's record and, for one that shares or replays another job's run, the record of that run."""

    id: str
    record: Mapping[str, str]
    shown: Mapping[str, str]
    position: int
    listeners: int
    now_ms: int

    @property
    def run_id(self) -> str:
        """The job whose events and result this job shows: itself, or its leader."""
        return self.record.get("leader") or self.id

    @property
    def run(self) -> Mapping[str, str]:
        """The record behind :attr:`run_id`."""
        return self.shown if self.record.get("leader") else self.record

    @property
    def cached(self) -> bool:
        """Whether the result was there before the job was submitted."""
        return "cached_age_ms" in self.record

    @property
    def damage(self) -> str:
        """What makes the record unreadable, in words that name the job; empty for a sound record."""
        status = self.record.get("status")
        return "" if status in _STATUSES else f"the record of job {self.id} is damaged: its status is {status!r:.60}"

    @property
    def status(self) -> Status:
        """The job's own outcome, else where its run stands. A job with a damaged record has failed."""
        if self.damage:
            return Status.FAILED
        own = Status(self.record["status"])
        shown = self.shown.get("status")
        if own.terminal or shown not in _STATUSES:
            return own
        shared = Status(shown)
        return own if shared.terminal else shared

    @property
    def request(self) -> ExecutionRequest | None:
        """What was submitted; None if it cannot be read."""
        try:
            return decode_request(self.record.get("request", ""), self.id)
        except DecodeError:
            return None  # the job list reads records without their requests

    def state(self) -> JobState:
        """The snapshot for people."""
        record, run, status, request = self.record, self.run, self.status, self.request
        result = json_object(run.get("result"))
        waited = waited_ms(run, status, self.now_ms)
        if status is Status.RUNNING:
            ran = max(0, self.now_ms - number(run, "started_at"))
        elif "execution_time_ms" in result:
            ran = number(result, "execution_time_ms")
        else:
            ran = last_run_ms(run)
        due = max(0, number(run, "due_at") - self.now_ms) / 1000 if status is Status.RETRYING else None
        reason = run.get("reason") if not record.get("leader") or status.terminal else record.get("reason")
        level = json_object(result.get("isolation")).get("level")
        return JobState(
            id=self.id,
            status=status,
            queue=record.get("queue", ""),
            label=record.get("label", ""),
            code_hash=record.get("code_hash", ""),
            code=request.code if request else "",
            position=self.position if status is Status.QUEUED and self.position else None,
            listeners=self.listeners,
            worker=run.get("worker") or None,
            attempt=number(run, "runs"),
            retries=request.retries if request else 0,
            failures=number(run, "failures"),
            crashes=number(run, "crashes"),
            next_try_in_s=due,
            submitted_at=number(record, "submitted_at") / 1000,
            waited_s=0.0 if self.cached else waited / 1000,
            ran_s=ran / 1000,
            cached=self.cached,
            cached_age_s=number(record, "cached_age_ms") / 1000 if self.cached else None,
            cached_from=record.get("leader") if self.cached else None,
            follows=None if self.cached else record.get("leader") or None,
            reason=Reason.INTERNAL if self.damage else Reason(reason) if reason in _REASONS else None,
            verdict=self.damage or str(result.get("verdict", "")),
            isolation_level=level if isinstance(level, int) else None,
            cancelling="cancel" in record and not status.terminal,
            dropped="dropped" in record and status is Status.DEAD_LETTERED,
            attempts=attempts(run),
            changed=tuple(name for name in record.get("changed", "").split(",") if name.isidentifier()),
            files=_files(result.get("files"), lambda one: (one["path"], one["ref"]["size"])),
            left_behind=_files(result.get("left_behind"), lambda one: (one[0], one[1])),
        )

    def result(self, events: Iterable[Mapping[str, Any]] = ()) -> ExecutionResult:
        """The outcome, with the output events of its last attempt; one that cannot be read is a failure that says so.

        Raises:
            DecodeError: the job has not ended.
        """
        if not self.status.terminal:
            raise DecodeError(f"job {self.id} has not ended")
        outputs = last_attempt(events)
        if self.damage:
            return unreadable_result(self.id, self.record, self.damage)
        if self.status is Status.CANCELLED and not (self.run.get("result") and self._run_ended):
            return cancelled_result(self.id, self.record, self.now_ms, outputs)
        if not self.run.get("result"):
            return unreadable_result(self.id, self.record, f"the record of job {self.id} holds no outcome")
        stored = json_object(self.run["result"])
        stored |= {"task_id": self.id, "outputs": outputs, "status": str(self.status)}
        if self.record.get("leader"):
            stored["cached_from"] = self.run_id
        if self.cached:
            age = number(self.record, "cached_age_ms") / 1000
            stored |= {"cached": True, "cached_age_s": age, "wait_time_ms": 0}
            stored["timestamp"] = iso(number(self.record, "finished_at"))
        try:
            return ExecutionResult.from_dict({"schema": SCHEMA_VERSION, **stored})
        except DecodeError as err:
            return unreadable_result(self.id, self.record, f"the record of job {self.id} is damaged: {err}")

    def refusal(self, err: DecodeError) -> ExecutionResult:
        """The outcome of a job whose request no worker of this version can read."""
        return unreadable_result(self.id, self.record, str(err), verdict=f"refused: {err}", ended_ms=self.now_ms)

    @property
    def _run_ended(self) -> bool:
        status = self.run.get("status")
        return status in _STATUSES and Status(status).terminal


def last_attempt(events: Iterable[Mapping[str, Any]]) -> tuple[dict[str, Any], ...]:
    """The output events after the last start, without what only describes the job."""
    kept: list[dict[str, Any]] = []
    for event in events:
        if event["type"] == "status" and event.get("status") == "running":
            kept.clear()
        elif event["type"] not in ("status", "end", "handover"):
            kept.append({key: value for key, value in event.items() if key != "id"})
    return tuple(kept)


def _files(listed: Any, read: Callable[[Any], tuple[Any, Any]]) -> tuple[tuple[str, int], ...]:
    """Names and sizes of the files in a result that may be damaged."""
    try:
        return tuple((str(name), int(size)) for name, size in map(read, listed or ()))
    except (KeyError, IndexError, TypeError, ValueError):
        return ()
