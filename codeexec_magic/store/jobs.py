"""The store's operations, each one script call and one round trip."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from codeexec_magic.contract import ExecutionRequest, Status, cache_key, code_hash, decode_request, retry_policy
from codeexec_magic.errors import JobNotFound, ValueLost
from codeexec_magic.store.attempt_end import AttemptEnd
from codeexec_magic.store.connection import broker_errors
from codeexec_magic.store.keys import EVENTS
from codeexec_magic.store.maintenance import Maintenance
from codeexec_magic.store.record import attempts, number
from codeexec_magic.store.replies import Begun, Event, Submission, events_of, pairs, read_events
from codeexec_magic.store.scripts import dumps, ms
from codeexec_magic.store.snapshot import Snapshot


class JobStore(Maintenance):
    """The job record in Redis: what clients and attempts do with it."""

    def submit(self, request: ExecutionRequest) -> Submission:
        """Record a job and hand it to the broker, or answer from the cache, or join an identical job.

        Raises:
            ValueLost: a stored value that is its input has expired.
        """
        answer = self.call(
            "submit",
            request.task_id,
            dumps(request.as_dict()),
            request.queue,
            request.label,
            request.cache,
            cache_key(request),
            self.settings.max_queue,
            code_hash(request.code),
            ms(self.settings.result_ttl_s),
            ms(self.settings.cache_ttl_s),
            retry_policy(request),
            " ".join(sorted({ref.hash for ref in request.stored_values})),
            dumps({name: ref.hash for name, ref in request.inputs.items()}) if request.inputs else "",
        )
        outcome = answer[0]
        if outcome == "gone":
            lost = next((name for name, ref in request.inputs.items() if ref.hash == answer[1]), "a value")
            raise ValueLost(f"input {lost} is not in the store any more: send the value again, or run its cell again")
        if outcome == "hit":
            return self._hit(request, *answer[1:])
        if outcome == "follow":
            return Submission("follow", leader=answer[1], listeners=answer[2])
        if outcome == "queued":
            return Submission("queued", depth=answer[1], listeners=answer[2])
        return Submission(outcome, depth=int(answer[1]) if len(answer) > 1 else 0)

    def _hit(
        self, request: ExecutionRequest, origin: str, age_ms: int, result: str, entries: Any, now: int
    ) -> Submission:
        events = tuple(events_of(entries))
        record = {
            "status": "succeeded",
            "reason": "ok",
            "leader": origin,
            "cached_age_ms": str(age_ms),
            "finished_at": str(now),
        }
        shown = {"status": "succeeded", "result": result}
        snapshot = Snapshot(request.task_id, record, shown, 0, 0, now)
        return Submission("hit", leader=origin, result=snapshot.result(events), events=events)

    def begin(self, task_id: str, generation: int, attempt: str, worker: str) -> Begun | str:
        """Open an attempt.

        Returns:
            The attempt, or why there is none: ``done``, ``stale`` (a duplicate message) or ``unknown``.

        Raises:
            DecodeError: the stored request does not follow the contract.
        """
        answer = self.call("begin", task_id, generation, attempt, worker, ms(self.settings.lease_s))
        if answer[0] != "run":
            return str(answer[0])
        _, request, run, failures, crashes, waited, started, closed, submitted = answer
        record = {"attempts": closed, "failures": failures, "crashes": crashes, "submitted_at": submitted}
        return Begun(
            request=decode_request(request, task_id),
            run=int(run),
            failures=number(record, "failures"),
            crashes=number(record, "crashes"),
            waited_ms=int(float(waited)),
            started_at_ms=int(float(started)),
            attempts=attempts(record),
            submitted_at_ms=number(record, "submitted_at"),
        )

    def emit(self, task_id: str, attempt: str, events: Iterable[Mapping[str, Any]], first: int | None = None) -> str:
        """Append output events and renew the lease. Returns ``ok``, ``cancel`` or ``fenced``.

        Args:
            task_id: the job.
            attempt: the open attempt.
            events: what to append.
            first: number of the first one within the attempt, from 0: those that are there already are left out.
                None: all are new.
        """
        lines = [dumps(event) for event in events]
        return str(self.call("emit", task_id, attempt, ms(self.settings.lease_s), _number(first), *lines))

    def renew(self, attempts: Sequence[tuple[str, str]]) -> list[str]:
        """Renew the leases of ``(task id, attempt)`` pairs. Returns ``ok``, ``cancel`` or ``fenced`` for each."""
        flat = [part for pair in attempts for part in pair]
        return [str(answer) for answer in self.call("renew", ms(self.settings.lease_s), *flat)]

    def finish(self, task_id: str, attempt: str, end: AttemptEnd) -> tuple[str, list[str]]:
        """Close an attempt.

        Args:
            task_id: the job.
            attempt: the open attempt; any other is fenced out.
            end: how it ended and what follows.

        Returns:
            ``ended``, ``retrying``, ``queued``, ``cancelled``, ``fenced`` or ``alive``; and the jobs that
            shared the answer.
        """
        answer = self.call(
            "finish",
            task_id,
            attempt,
            int(end.only_if_expired),
            end.action,
            str(end.status),
            str(end.reason),
            dumps(end.result.as_dict(outputs=False)) if end.result else "{}",
            dumps(end.attempt_record) if end.attempt_record else "",
            ms(end.delay_s),
            dumps(end.dead_letter) if end.dead_letter else "",
            ms(self.settings.result_ttl_s),
            ms(self.settings.cache_ttl_s),
            end.environment,
            self.settings.dead_letters,
            end.charge,
            end.shared_with,
            _number(end.first_event),
            *(dumps(event) for event in end.events),
        )
        return str(answer[0]), [str(one) for one in answer[1:]]

    def cancel(self, task_id: str) -> Status:
        """Cancel a job; the status after the call. A running one stays ``running`` until its worker has killed it.

        Raises:
            JobNotFound: no such job.
        """
        status = self.call("cancel", task_id, ms(self.settings.result_ttl_s))
        if status == "unknown":
            raise JobNotFound(f"no job {task_id}")
        return Status(status)

    def requeue(self, task_id: str, generation: str, request: ExecutionRequest | None = None) -> str:
        """Run a job that gave up again, with an edited request or its own.

        Args:
            task_id: the job.
            generation: of its record, as the caller saw it: of several callers who saw the same, one succeeds.
            request: instead of its own.

        Returns:
            ``queued``, ``alive`` (nothing to do), ``succeeded`` (nothing to repeat) or ``unknown``.

        Raises:
            ValueLost: a stored value that is its input has expired.
        """
        edited = dumps(request.as_dict()) if request else ""
        answer = str(self.call("requeue", task_id, edited, code_hash(request.code) if request else "", generation))
        if answer == "gone":
            raise ValueLost(f"an input of job {task_id} is not in the store any more: submit the cell again")
        return answer

    def drop(self, task_id: str | None = None) -> int:
        """Forget a dead letter, or all; how many."""
        return int(self.call("drop", task_id or "", ms(self.settings.result_ttl_s)))

    def snapshot(self, task_id: str) -> Snapshot:
        """The job as it stands.

        Raises:
            JobNotFound: no such job, or it has expired.
        """
        answer = self.call("snapshot", task_id)
        if not answer:
            raise JobNotFound(
                f"no job {task_id} (finished jobs are kept for {self.settings.result_ttl_s / 60:.0f} min)"
            )
        record, shown, place, listeners, now = answer
        return Snapshot(task_id, pairs(record), pairs(shown), int(place), int(listeners), int(now))

    def events(self, task_id: str, after: str = "0", block_ms: int | None = None) -> list[Event]:
        """Events of the run ``task_id`` after the entry ``after``; waits up to ``block_ms`` for the first one."""
        with broker_errors(self.url):
            answer: Any = self.redis.xread({self.key(EVENTS, task_id): after}, block=block_ms)
        return read_events(answer) if answer else []


def _number(first: int | None) -> str:
    return "" if first is None else str(first)
