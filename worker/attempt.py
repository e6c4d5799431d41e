"""One attempt at one job: open it in the store, run the sandbox, say what happens next."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from codeexec_magic.contract import (
    DEFAULT_LIMITS,
    ErrorInfo,
    ExecutionRequest,
    ExecutionResult,
    Reason,
    Status,
    code_hash,
)
from codeexec_magic.errors import (
    BadRequest,
    BrokerFull,
    ClusterError,
    DecodeError,
    LimitTooHigh,
    SandboxBroken,
    ValueLost,
)
from codeexec_magic.limits import Limits
from codeexec_magic.store import Begun, Snapshot
from codeexec_magic.store.attempt_end import AttemptEnd
from codeexec_magic.store.dead_letters import DeadLetter
from codeexec_magic.store.snapshot import iso
from worker.broker_retry import patiently
from worker.exchange import Exchange
from worker.leases import Handle
from worker.publisher import Publisher
from worker.retry_policy import Decision, decide
from worker.sandbox import Cell, Outcome

if TYPE_CHECKING:
    from worker.runtime import Runtime

log = logging.getLogger("codeexec")

#: longest run without a broker: after this the outcome of an attempt cannot be recorded any more (seconds)
FINISH_PATIENCE_S = 600.0
#: how long an outcome with much output waits for room in the server's memory; then it goes without (seconds)
FULL_PATIENCE_S = 30.0


class Attempt:
    """One delivery of a job.

    Args:
        runtime: the worker.
        task_id: the job.
        generation: which publication of it this delivery belongs to.
    """

    def __init__(self, runtime: Runtime, task_id: str, generation: int) -> None:
        self.runtime, self.store = runtime, runtime.store
        self.task_id, self.generation = task_id, generation
        self.id = runtime.attempt_prefix + uuid.uuid4().hex
        self.exchange = Exchange(runtime.values)

    def run(self) -> None:
        """Run the job, unless this delivery is a duplicate."""
        # nothing is open yet: if this takes long, the job is sent again and another worker has it
        self.runtime.wait_for_room()
        try:
            begun = patiently(
                lambda: self.store.begin(self.task_id, self.generation, self.id, self.runtime.name),
                self.store.settings.lease_s / 2,
            )
        except DecodeError as err:
            self._refuse(err)
            return
        if isinstance(begun, str):
            self.runtime.log.skipped(self.task_id, begun)
            return
        handle = Handle()
        # held until the outcome is recorded: a slow start or a slow broker must not look like a dead worker
        with self.runtime.leases.hold(self.task_id, self.id, handle):
            try:
                outcome, publisher = self._execute(begun, handle)
                self._record(begun, outcome, publisher)
            except ClusterError:
                raise
            except Exception as err:
                # a fault of ours is told as one at once, instead of by a lease that runs out as if the worker had died
                log.exception("job %s failed inside the worker", self.task_id)
                verdict = f"internal: {type(err).__name__} in worker {self.runtime.name}; its log tells more"
                fault = Outcome(Reason.INTERNAL, False, verdict=verdict)
                self._record(begun, fault, Publisher(self.store, self.task_id, self.id))

    def _refuse(self, err: DecodeError) -> None:
        """End a job whose request does not follow the contract: no worker of this version can ever run it."""
        result = unreadable_result(self.store.snapshot(self.task_id), err)
        verdict, followers = patiently(
            lambda: self.store.finish(
                self.task_id, self.id, AttemptEnd("end", result.reason, status=result.status, result=result)
            ),
            FINISH_PATIENCE_S,
        )
        log.error("refused job %.40s: %s", self.task_id, err)
        if verdict == "ended":
            self.runtime.announce(result, followers, None)

    def _execute(self, begun: Begun, handle: Handle) -> tuple[Outcome, Publisher]:
        request = begun.request
        publisher = Publisher(self.store, self.task_id, self.id)
        try:
            limits = grant(request, self.runtime.settings.ceiling)
            with Exchange(self.runtime.values, request) as self.exchange:
                cell = Cell(
                    run_id=f"{self.task_id}:{self.id}",
                    code=request.code,
                    limits=limits,
                    network=request.network,
                    inputs=self.exchange.inputs,
                    outputs=request.outputs,
                    downloads=request.downloads,
                    returns=self.exchange.returns,
                )
                run = self.runtime.sandbox.run(cell)
        except (LimitTooHigh, ValueLost, BadRequest) as err:
            return Outcome(
                Reason.ERROR, False, error=ErrorInfo(type(err).__name__, str(err)), verdict=str(err)
            ), publisher
        except SandboxBroken as err:
            return Outcome(Reason.INTERNAL, False, verdict=str(err)), publisher
        handle.attach(run)
        with self.runtime.flusher.publishing(publisher, run):
            outcome = run.wait(publisher.add)
        self.exchange.finish()
        return outcome, publisher

    def _record(self, begun: Begun, outcome: Outcome, publisher: Publisher) -> None:
        runtime, request = self.runtime, begun.request
        if outcome.start_ms is not None:
            runtime.footprint.started(outcome.start_ms)
        if outcome.reason is Reason.WORKER_LOST:
            patiently(
                lambda: self.store.finish(self.task_id, self.id, AttemptEnd("again", outcome.reason)), FINISH_PATIENCE_S
            )
            runtime.log.handed_back(self.task_id)
            return
        ended_ms = begun.started_at_ms + outcome.execution_time_ms
        decision = decide(request, outcome.reason, begun.failures)
        attempt_record = self._attempt_record(begun, outcome, ended_ms)
        full_until = time.monotonic() + FULL_PATIENCE_S

        def close() -> tuple[str, list[str], ExecutionResult, Mapping[str, Any] | None]:
            try:
                return self._close(begun, outcome, decision, attempt_record, publisher)
            except BrokerFull:
                if not runtime.room.make() and time.monotonic() > full_until:
                    publisher.give_up()  # an outcome that tells what is missing from its output needs next to no room
                raise

        verdict, followers, result, letter = patiently(close, FINISH_PATIENCE_S)
        if verdict == "fenced":
            runtime.log.fenced(self.task_id)
            return
        runtime.log.executed(request, result, verdict)
        if verdict == "ended":
            runtime.announce(result, followers, letter)

    def _close(
        self,
        begun: Begun,
        outcome: Outcome,
        decision: Decision,
        attempt_record: Mapping[str, Any],
        publisher: Publisher,
    ) -> tuple[str, list[str], ExecutionResult, Mapping[str, Any] | None]:
        ended_ms = begun.started_at_ms + outcome.execution_time_ms
        result = self._result(begun, outcome, decision, attempt_record, ended_ms, publisher)
        letter = None
        if decision.dead:
            letter = DeadLetter.of(begun.request, result, iso(begun.submitted_at_ms)).as_dict()
        verdict, followers = self.store.finish(
            self.task_id,
            self.id,
            AttemptEnd(
                decision.action,
                outcome.reason,
                attempt_record=attempt_record,
                charge=decision.charge,
                status=decision.status,
                result=replace(result, outputs=()),
                delay_s=decision.delay_s,
                dead_letter=letter,
                environment=self.runtime.sandbox.environment,
                events=publisher.rest(),
                first_event=publisher.sent,
            ),
        )
        return verdict, followers, result, letter

    def _attempt_record(self, begun: Begun, outcome: Outcome, ended_ms: int) -> dict[str, Any]:
        return {
            "worker": self.runtime.name,
            "start": iso(begun.started_at_ms),
            "end": iso(ended_ms),
            "reason": str(outcome.reason),
            "verdict": outcome.verdict,
        }

    def _result(
        self,
        begun: Begun,
        outcome: Outcome,
        decision: Decision,
        attempt_record: Mapping[str, Any],
        ended_ms: int,
        publisher: Publisher,
    ) -> ExecutionResult:
        truncated = dict(outcome.truncated)
        if publisher.removed:
            truncated["removed"] = publisher.removed
        return ExecutionResult(
            task_id=self.task_id,
            code_hash=code_hash(begun.request.code),
            success=outcome.success,
            status=decision.status,
            reason=outcome.reason,
            returncode=outcome.returncode,
            execution_time_ms=outcome.execution_time_ms,
            memory_used_mb=outcome.memory_used_mb,
            retry_count=begun.failures,
            timestamp=iso(ended_ms),
            worker_id=self.runtime.name,
            error=outcome.error,
            verdict=outcome.verdict,
            wait_time_ms=begun.waited_ms,
            queue=begun.request.queue,
            attempts=(*begun.attempts, attempt_record),
            limits=outcome.limits,
            isolation=outcome.isolation,
            truncated=truncated,
            values=self.exchange.values if outcome.success else {},
            value_problems=self.exchange.problems if outcome.success else {},
            files=self.exchange.files,
            left_behind=outcome.left_behind,
            outputs=tuple(publisher.kept),
        )


def grant(request: ExecutionRequest, ceiling: Limits) -> Limits:
    """The limits a request gets: its own; the queue's defaults are cut down to the ceiling.

    Raises:
        LimitTooHigh: it names a limit above the ceiling. What was asked for is never quietly lowered.
    """
    default = DEFAULT_LIMITS.get(request.queue, Limits())
    granted = request.limits.as_dict()
    for name in request.limits.above(ceiling):
        allowed = getattr(ceiling, name)
        if granted[name] != getattr(default, name):
            raise LimitTooHigh(f"{name}={granted[name]:g} is more than this worker allows ({allowed:g})")
        granted[name] = allowed
    granted["soft_s"] = min(granted["soft_s"], granted["hard_s"])
    return Limits.from_dict(granted)


def unreadable_result(snapshot: Snapshot, err: DecodeError) -> ExecutionResult:
    """The outcome of a job whose request cannot be read."""
    record = snapshot.record
    return ExecutionResult(
        task_id=snapshot.id,
        code_hash=record.get("code_hash", ""),
        success=False,
        status=Status.FAILED,
        reason=Reason.INTERNAL,
        timestamp=iso(snapshot.now_ms),
        error=ErrorInfo("DecodeError", str(err)),
        verdict=f"refused: {err}",
        queue=record.get("queue", ""),
    )


def lost_result(
    request: ExecutionRequest,
    status: Any,
    retries: int,
    attempts: tuple[Mapping[str, Any], ...],
    ended_ms: int,
    waited: int,
) -> ExecutionResult:
    """The outcome of a job whose workers died under it."""
    deaths = sum(one.get("reason") == str(Reason.WORKER_LOST) for one in attempts)
    verdict = f"{deaths} workers died while they ran this cell: taken out of the queue as a poison pill"
    return ExecutionResult(
        task_id=request.task_id,
        code_hash=code_hash(request.code),
        success=False,
        status=status,
        reason=Reason.WORKER_LOST,
        retry_count=retries,
        timestamp=iso(ended_ms),
        worker_id=str(attempts[-1].get("worker", "")) if attempts else None,
        error=ErrorInfo("WorkerLost", verdict),
        verdict=verdict,
        wait_time_ms=waited,
        queue=request.queue,
        attempts=attempts,
    )
