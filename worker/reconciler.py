"""Repairs what crashes leave behind: lost messages, dead attempts, due retries, missing result entries.

Every worker runs one; a lock in Redis lets one of them work at a time. Everything it does is a store script that
checks again, so two at once would do no harm.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from codeexec_magic.contract import ExecutionRequest, ExecutionResult, Reason, Status, decode_request
from codeexec_magic.errors import ClusterError, DecodeError, JobNotFound
from codeexec_magic.store import JobStore, Snapshot
from codeexec_magic.store.attempt_end import AttemptEnd
from codeexec_magic.store.connection import broker_errors
from codeexec_magic.store.dead_letters import DeadLetter, dead_letter
from codeexec_magic.store.keys import ALERTS, FINISHED, RECONCILER, RUNNING
from codeexec_magic.store.queries import known_queues
from codeexec_magic.store.record import attempts, iso, number
from worker.results import lost_result

log = logging.getLogger("codeexec")

#: how long a pass keeps others from beginning one (seconds)
TURN_S = RECONCILER.expiry_s
#: a queued job whose message is gone for so long without a worker that began it has lost it (seconds)
GRACE_S = 4.0


class Reconciler:
    """One pass is :meth:`step`.

    Args:
        store: the job store.
        name: this worker.
        announce: called with the result, the jobs that shared it and the dead letter of every job ended here.
        tell: called with a dead letter whose worker died before it told of it.
        missing: of these task ids, those without a Celery result.
        steady: seconds on a clock nobody sets.
    """

    def __init__(
        self,
        store: JobStore,
        name: str,
        announce: Callable[[ExecutionResult, list[str], Mapping[str, Any] | None], None],
        tell: Callable[[Mapping[str, Any]], None],
        missing: Callable[[list[str]], list[str]],
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self.store, self.name, self._steady = store, name, steady
        self._announce, self._tell, self._missing = announce, tell, missing
        # whether leases may have run out although their holders live
        self._doubt = False
        self._checked_ms = 0
        # the server's clock less the steady one at the last pass (seconds)
        self._ahead: float | None = None

    def step(self) -> None:
        """One pass, if no other worker is at it.

        Raises:
            ClusterError: the broker is away.
        """
        try:
            self._pass()
        except ClusterError:
            self._doubt = True
            raise

    def _pass(self) -> None:
        before = self._steady()
        mine = self.store.take_turn(self.name, TURN_S)
        now = self._steady()
        noticeable = self.store.settings.lease_s / 4
        # a server that stood still looks to us like one slow reply
        self._doubt |= now - before > noticeable
        if not mine:
            return
        # a clock that was set forward, or a machine that slept, ends leases in no time
        last, self._ahead = self._ahead, self.store.now() / 1000 - now
        if last is not None and self._ahead - last > noticeable:
            log.warning("the server's clock jumped %.1f s forward", self._ahead - last)
            self._doubt = True
        swept = self.store.sweep(known_queues(self.store), GRACE_S, self._doubt)
        self._doubt = False
        if swept.lost:
            log.warning("sent %d job(s) again whose message was lost", swept.lost)
        for task_id in swept.expired:
            try:
                self._bury(task_id)
            except DecodeError as err:
                # others wait behind this job: its attempt is not looked at again
                log.error("job %.40s: %s", task_id, err)
                self._forget_attempt(task_id)
        self._repair_results(swept.now_ms)
        self._repair_alerts(swept.now_ms)

    def _bury(self, task_id: str) -> None:
        """End the attempt of a worker that died, and run the job again or take it out of the queue."""
        try:
            snapshot = self.store.snapshot(task_id)
        except JobNotFound:
            self._forget_attempt(task_id)
            return
        if snapshot.damage:
            raise DecodeError(snapshot.damage)
        record = snapshot.record
        attempt = record.get("attempt", "")
        if record.get("status") != "running":
            self._forget_attempt(task_id)
            return
        crashes = number(record, "crashes") + 1
        attempt_record = {
            "worker": record.get("worker", ""),
            "start": iso(number(record, "started_at")),
            "end": iso(snapshot.now_ms),
            "reason": str(Reason.WORKER_LOST),
            "verdict": "the worker died",
        }
        if crashes < self.store.settings.max_crashes:
            verdict, _ = self.store.finish(
                task_id,
                attempt,
                AttemptEnd(
                    "again", Reason.WORKER_LOST, attempt_record=attempt_record, charge="crashes", only_if_expired=True
                ),
            )
            if verdict == "queued":
                log.warning("worker %s died under job %s: running it again", attempt_record["worker"], task_id)
            return
        try:
            request = decode_request(record.get("request", ""), task_id)
        except DecodeError as err:
            self._refuse(snapshot, attempt, err)
            return
        self._poison(snapshot, request, attempt, attempt_record)

    def _forget_attempt(self, task_id: str) -> None:
        """Take a job that does not run off the list of running ones."""
        with broker_errors(self.store.url):
            self.store.redis.zrem(self.store.key(RUNNING), task_id)

    def _refuse(self, snapshot: Snapshot, attempt: str, err: DecodeError) -> None:
        result = snapshot.refusal(err)
        verdict, followers = self.store.finish(
            snapshot.id,
            attempt,
            AttemptEnd("end", result.reason, status=result.status, result=result, only_if_expired=True),
        )
        if verdict == "ended":
            self._announce(result, followers, None)

    def _poison(
        self, snapshot: Snapshot, request: ExecutionRequest, attempt: str, attempt_record: Mapping[str, Any]
    ) -> None:
        record = snapshot.record
        told = (*attempts(record), attempt_record)
        result = lost_result(
            request,
            Status.DEAD_LETTERED,
            number(record, "failures"),
            told,
            snapshot.now_ms,
            number(record, "waited_ms"),
        )
        result = replace(result, outputs=tuple(self.store.events(request.task_id)))
        letter = DeadLetter.of(request, result, iso(number(record, "submitted_at"))).as_dict()
        verdict, followers = self.store.finish(
            request.task_id,
            attempt,
            AttemptEnd(
                "end",
                Reason.WORKER_LOST,
                attempt_record=attempt_record,
                charge="crashes",
                status=Status.DEAD_LETTERED,
                result=replace(result, outputs=()),
                dead_letter=letter,
                only_if_expired=True,
            ),
        )
        if verdict == "ended":
            self._announce(replace(result, outputs=()), followers, letter)

    def _repair_results(self, now: int) -> None:
        """A worker that died between recording an outcome and telling Celery leaves this to us."""
        with broker_errors(self.store.url):
            ended: Any = self.store.redis.zrevrangebyscore(self.store.key(FINISHED), "+inf", self._checked_ms, 0, 500)
        if not ended:
            return
        for task_id in self._missing(ended):
            try:
                snapshot = self.store.snapshot(task_id)
                finished = number(snapshot.record, "finished_at")
                if now - finished < 2000 or not snapshot.status.terminal:
                    continue  # its worker is about to
                self._announce(snapshot.result(self.store.events(snapshot.run_id)), [], None)
            except (JobNotFound, DecodeError):
                continue
        self._checked_ms = max(self._checked_ms, now - 10_000)

    def _repair_alerts(self, now: int) -> None:
        """A worker that died between recording a dead letter and telling of it leaves this to us."""
        with broker_errors(self.store.url):
            waiting: Any = self.store.redis.zrangebyscore(self.store.key(ALERTS), "-inf", now - 2000, 0, 100)
        for task_id in waiting:
            try:
                self._tell(dead_letter(self.store, task_id).as_dict())
            except (JobNotFound, DecodeError):
                self.store.alerted(task_id)  # requeued or dropped meanwhile
