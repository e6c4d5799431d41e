"""The store's operations, each one script call and one round trip."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import redis

from codeexec_magic.contract import (
    ExecutionRequest,
    ExecutionResult,
    Reason,
    Status,
    bare_prefix,
    cache_key,
    code_hash,
    key_prefix,
)
from codeexec_magic.errors import DecodeError, JobNotFound
from codeexec_magic.settings import Settings
from codeexec_magic.store.answers import Begun, Event, Submission, Sweep, events_of, pairs, read_events
from codeexec_magic.store.connection import REPLY_TIMEOUT_S, broker_errors, connect
from codeexec_magic.store.state import Snapshot


@cache
def _source(name: str) -> str:
    folder = files("codeexec_magic.store").joinpath("lua")
    return folder.joinpath("common.lua").read_text() + folder.joinpath(f"{name}.lua").read_text()


class JobStore:
    """The job record in Redis.

    Args:
        url: broker URL; the record lives in the broker's database.
        settings: namespace, expiries and caps.
        reply_timeout_s: seconds without a reply after which a connection is given up.
    """

    def __init__(self, url: str, settings: Settings, reply_timeout_s: float = REPLY_TIMEOUT_S) -> None:
        self.url, self.settings = url, settings
        self.redis: redis.Redis = connect(url, reply_timeout_s)
        self.prefix, self.bare = key_prefix(settings.namespace), bare_prefix(settings.namespace)
        self._scripts: dict[str, Any] = {}

    def _call(self, name: str, *arguments: Any) -> Any:
        script = self._scripts.get(name)
        if script is None:
            script = self._scripts[name] = self.redis.register_script(_source(name))
        with broker_errors(self.url):
            return script(args=(self.prefix, self.bare, *arguments))

    def call(self, script: str, *arguments: Any) -> Any:
        """Run a script for a reader that lives in a module of its own.

        Raises:
            ClusterError: the broker is away, or refuses.
        """
        return self._call(script, *arguments)

    def submit(self, request: ExecutionRequest) -> Submission:
        """Record a job and hand it to the broker, or answer from the cache, or join an identical job."""
        answer = self._call(
            "submit",
            request.task_id,
            _dumps(request.as_dict()),
            request.queue,
            request.label,
            request.cache,
            cache_key(request),
            self.settings.max_queue,
            code_hash(request.code),
            _ms(self.settings.result_ttl_s),
            _ms(self.settings.cache_ttl_s),
        )
        outcome = answer[0]
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
        answer = self._call("begin", task_id, generation, attempt, worker, _ms(self.settings.lease_s))
        if answer[0] != "run":
            return str(answer[0])
        _, request, run, failures, crashes, waited, started, told, submitted = answer
        try:
            decoded = json.loads(request)
        except ValueError:
            raise DecodeError(f"the request of job {task_id} is not JSON") from None
        return Begun(
            request=ExecutionRequest.from_dict(decoded),
            run=int(run),
            failures=int(failures),
            crashes=int(crashes),
            waited_ms=int(float(waited)),
            started_at_ms=int(float(started)),
            attempts=tuple(json.loads(f"[{told}]")),
            submitted_at_ms=int(float(submitted)),
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
        lines = [_dumps(event) for event in events]
        return str(self._call("emit", task_id, attempt, _ms(self.settings.lease_s), _number(first), *lines))

    def orphan(self, lineage: str) -> int:
        """End the leases of all attempts whose id begins with ``lineage``: their worker is dead. Returns how many."""
        return int(self._call("orphan", lineage))

    def claim_alert(self, task_id: str, hold_s: float) -> bool:
        """Whether the caller is the one to tell of this new dead letter; until :meth:`alerted`, for ``hold_s`` only."""
        return bool(self._call("claim", task_id, _ms(hold_s)))

    def alerted(self, task_id: str) -> None:
        """Somebody was told of this dead letter, or there is nothing to tell any more."""
        with broker_errors(self.url):
            self.redis.zrem(f"{self.prefix}alerts", task_id)

    def renew(self, attempts: Sequence[tuple[str, str]]) -> list[str]:
        """Renew the leases of ``(task id, attempt)`` pairs. Returns ``ok``, ``cancel`` or ``fenced`` for each."""
        flat = [part for pair in attempts for part in pair]
        return [str(answer) for answer in self._call("renew", _ms(self.settings.lease_s), *flat)]

    def finish(
        self,
        task_id: str,
        attempt: str,
        action: str,
        reason: Reason,
        *,
        story: Mapping[str, Any] | None = None,
        charge: str = "none",
        status: Status = Status.FAILED,
        result: ExecutionResult | None = None,
        delay_s: float = 0.0,
        dead_letter: Mapping[str, Any] | None = None,
        environment: str = "",
        events: Iterable[Mapping[str, Any]] = (),
        first_event: int | None = None,
        only_if_expired: bool = False,
    ) -> tuple[str, list[str]]:
        """Close an attempt.

        Args:
            task_id: the job.
            attempt: the open attempt; any other is fenced out.
            action: ``end`` (with ``status`` and ``result``), ``retry`` (after ``delay_s``) or ``again`` (at once).
            reason: why the attempt ended.
            story: the attempt for the job's timeline; None leaves no trace.
            charge: which count goes up: ``failures``, ``crashes`` or ``none``.
            status: terminal status for ``end``.
            result: the outcome for ``end``.
            delay_s: seconds until the next try for ``retry``.
            dead_letter: the entry when ``status`` is dead_lettered.
            environment: fingerprint of the worker's environment, part of the cache key.
            events: output not yet emitted.
            first_event: number of the first of them within the attempt, as for :meth:`emit`.
            only_if_expired: do nothing while the lease holds (for the reconciler).

        Returns:
            ``ended``, ``retrying``, ``queued``, ``cancelled``, ``fenced`` or ``alive``; and the jobs that
            shared the answer.
        """
        answer = self._call(
            "finish",
            task_id,
            attempt,
            int(only_if_expired),
            action,
            str(status),
            str(reason),
            _dumps(result.as_dict(outputs=False)) if result else "{}",
            _dumps(story) if story else "",
            _ms(delay_s),
            _dumps(dead_letter) if dead_letter else "",
            _ms(self.settings.result_ttl_s),
            _ms(self.settings.cache_ttl_s),
            environment,
            self.settings.dead_letters,
            charge,
            _number(first_event),
            *(_dumps(event) for event in events),
        )
        return str(answer[0]), [str(one) for one in answer[1:]]

    def cancel(self, task_id: str) -> Status:
        """Cancel a job; the status after the call. A running one stays ``running`` until its worker has killed it.

        Raises:
            JobNotFound: no such job.
        """
        status = self._call("cancel", task_id, _ms(self.settings.result_ttl_s))
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
        """
        edited = _dumps(request.as_dict()) if request else ""
        return str(self._call("requeue", task_id, edited, code_hash(request.code) if request else "", generation))

    def drop(self, task_id: str | None = None) -> int:
        """Forget a dead letter, or all; how many."""
        return int(self._call("drop", task_id or "", _ms(self.settings.result_ttl_s)))

    def take_turn(self, worker: str, hold_s: float) -> bool:
        """Whether it is this reconciler's turn; nobody else's begins for ``hold_s``."""
        return bool(self._call("turn", worker, _ms(hold_s)))

    def sweep(self, queues: Iterable[str], grace_s: float, doubt: bool = False) -> Sweep:
        """The reconciler's pass.

        Args:
            queues: where jobs wait.
            grace_s: a queued job so much older than the message next in line has lost its own.
            doubt: leases may have run out although their holders live: these get half a lease to renew.
        """
        lease, ttl = _ms(self.settings.lease_s), _ms(self.settings.result_ttl_s)
        answer = self._call("sweep", _ms(grace_s), ttl, lease, int(doubt), *queues)
        due, lost, now, *expired = answer
        return Sweep(int(due), int(lost), int(now), tuple(str(one) for one in expired))

    def heartbeat(
        self,
        worker: str,
        queues: Iterable[str],
        environment: str,
        about: Mapping[str, Any],
        fields: Mapping[str, Any],
        ttl_s: float,
    ) -> None:
        """Say that a worker is alive, what it is (``fields``) and what its queues offer (``about``)."""
        flat = [str(part) for pair in fields.items() for part in pair]
        self._call("heartbeat", worker, _ms(ttl_s), environment, _dumps(about), *flat, "--", *queues)

    def depart(self, worker: str, queues: Iterable[str]) -> None:
        """Take a worker off the lists at once."""
        self._call("depart", worker, *queues)

    def snapshot(self, task_id: str) -> Snapshot:
        """The job as it stands.

        Raises:
            JobNotFound: no such job, or it has expired.
        """
        answer = self._call("snapshot", task_id)
        if not answer:
            raise JobNotFound(
                f"no job {task_id} (finished jobs are kept for {self.settings.result_ttl_s / 60:.0f} min)"
            )
        record, shown, place, listeners, now = answer
        return Snapshot(task_id, pairs(record), pairs(shown), int(place), int(listeners), int(now))

    def count(self, name: str) -> None:
        """Add one to a counter."""
        with broker_errors(self.url):
            self.redis.hincrby(f"{self.prefix}counters", name, 1)

    def now(self) -> int:
        """The server's clock, in milliseconds."""
        with broker_errors(self.url):
            seconds, micros = self.redis.time()
        return int(seconds) * 1000 + int(micros) // 1000

    def close(self) -> None:
        """Close the connections."""
        self.redis.close()

    def events(self, task_id: str, after: str = "0", block_ms: int | None = None) -> list[Event]:
        """Events of the run ``task_id`` after the entry ``after``; waits up to ``block_ms`` for the first one."""
        with broker_errors(self.url):
            answer: Any = self.redis.xread({f"{self.prefix}events:{task_id}": after}, block=block_ms)
        if not answer:
            return []
        return read_events(answer)


def _dumps(data: Any) -> str:
    return json.dumps(data, separators=(",", ":"), allow_nan=False)


def _number(first: int | None) -> str:
    return "" if first is None else str(first)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
