"""One attempt at one job: open it in the store, run the sandbox, say what happens next."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from codeexec_magic.contract import (
    DEFAULT_LIMITS,
    ErrorInfo,
    ExecutionRequest,
    ExecutionResult,
    Reason,
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
from codeexec_magic.limits import Limits, check_ceiling
from codeexec_magic.store import Begun
from codeexec_magic.store.attempt_end import AttemptEnd
from codeexec_magic.store.dead_letters import DeadLetter
from codeexec_magic.store.record import iso
from worker.broker_retry import patiently
from worker.context import WorkerContext
from worker.exchange import Exchange
from worker.leases import Handle
from worker.publisher import Publisher
from worker.results import attempt_result
from worker.retry_policy import Decision, decide
from worker.sandbox import Cell, Outcome

log = logging.getLogger("codeexec")

#: longest run without a broker: after this the outcome of an attempt cannot be recorded any more (seconds)
FINISH_PATIENCE_S = 600.0
#: how long an outcome with much output waits for room in the server's memory; then it goes without (seconds)
FULL_PATIENCE_S = 30.0


class Attempt:
    """One delivery of a job.

    Args:
        worker: what an attempt needs of its worker.
        task_id: the job.
        generation: which publication of it this delivery belongs to.
    """

    def __init__(self, worker: WorkerContext, task_id: str, generation: int) -> None:
        self.worker, self.store = worker, worker.store
        self.task_id, self.generation = task_id, generation
        self.id = worker.attempt_prefix + uuid.uuid4().hex
        self.exchange = Exchange(worker.values)

    def run(self) -> None:
        """Run the job, unless this delivery is a duplicate."""
        # nothing is open yet: if this takes long, the job is sent again and another worker has it
        self.worker.wait_for_room()
        try:
            begun = patiently(
                lambda: self.store.begin(self.task_id, self.generation, self.id, self.worker.name),
                self.store.settings.lease_s / 2,
            )
        except DecodeError as err:
            self._refuse(err)
            return
        if isinstance(begun, str):
            self.worker.log.skipped(self.task_id, begun)
            return
        handle = Handle()
        # held until the outcome is recorded: a slow start or a slow broker must not look like a dead worker
        with self.worker.leases.hold(self.task_id, self.id, handle):
            try:
                outcome, publisher = self._execute(begun, handle)
                self._record(begun, outcome, publisher)
            except ClusterError:
                raise
            except Exception as err:
                # a fault of ours is told as one at once, instead of by a lease that runs out as if the worker had died
                log.exception("job %s failed inside the worker", self.task_id)
                verdict = f"internal: {type(err).__name__} in worker {self.worker.name}; its log tells more"
                fault = Outcome(Reason.INTERNAL, False, verdict=verdict)
                self._record(begun, fault, Publisher(self.store, self.task_id, self.id))

    def _refuse(self, err: DecodeError) -> None:
        """End a job whose request does not follow the contract: no worker of this version can ever run it."""
        result = self.store.snapshot(self.task_id).refusal(err)
        verdict, followers = patiently(
            lambda: self.store.finish(
                self.task_id, self.id, AttemptEnd("end", result.reason, status=result.status, result=result)
            ),
            FINISH_PATIENCE_S,
        )
        log.error("refused job %.40s: %s", self.task_id, err)
        if verdict == "ended":
            self.worker.announcer.announce(result, followers, None)

    def _execute(self, begun: Begun, handle: Handle) -> tuple[Outcome, Publisher]:
        request = begun.request
        publisher = Publisher(self.store, self.task_id, self.id)
        try:
            limits = grant(request, self.worker.ceiling)
            with Exchange(self.worker.values, request) as self.exchange:
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
                run = self.worker.sandbox.run(cell)
        except (LimitTooHigh, ValueLost, BadRequest) as err:
            return Outcome(
                Reason.ERROR, False, error=ErrorInfo(type(err).__name__, str(err)), verdict=str(err)
            ), publisher
        except SandboxBroken as err:
            return Outcome(Reason.INTERNAL, False, verdict=str(err)), publisher
        handle.attach(run)
        with self.worker.flusher.publishing(publisher, run):
            outcome = run.wait(publisher.add)
        self.exchange.finish()
        return outcome, publisher

    def _record(self, begun: Begun, outcome: Outcome, publisher: Publisher) -> None:
        worker, request = self.worker, begun.request
        if outcome.start_ms is not None:
            worker.memory_usage.started(outcome.start_ms)
        if outcome.reason is Reason.WORKER_LOST:
            patiently(
                lambda: self.store.finish(self.task_id, self.id, AttemptEnd("again", outcome.reason)), FINISH_PATIENCE_S
            )
            worker.log.handed_back(self.task_id)
            return
        decision = decide(request, outcome.reason, begun.failures)
        attempt_record = self._attempt_record(begun, outcome)
        full_until = time.monotonic() + FULL_PATIENCE_S

        def close() -> tuple[str, list[str], ExecutionResult, Mapping[str, Any] | None]:
            try:
                return self._close(begun, outcome, decision, attempt_record, publisher)
            except BrokerFull:
                if not worker.room.make() and time.monotonic() > full_until:
                    publisher.give_up()  # an outcome that tells what is missing from its output needs next to no room
                raise

        verdict, followers, result, letter = patiently(close, FINISH_PATIENCE_S)
        if verdict == "fenced":
            worker.log.fenced(self.task_id)
            return
        worker.log.executed(request, result, verdict)
        if verdict == "ended":
            worker.announcer.announce(result, followers, letter)

    def _close(
        self,
        begun: Begun,
        outcome: Outcome,
        decision: Decision,
        attempt_record: Mapping[str, Any],
        publisher: Publisher,
    ) -> tuple[str, list[str], ExecutionResult, Mapping[str, Any] | None]:
        result = attempt_result(begun, outcome, decision.status, attempt_record, publisher, self.exchange)
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
                environment=self.worker.sandbox.environment,
                events=publisher.rest(),
                first_event=publisher.sent,
            ),
        )
        return verdict, followers, result, letter

    def _attempt_record(self, begun: Begun, outcome: Outcome) -> dict[str, Any]:
        ended_ms = begun.started_at_ms + outcome.execution_time_ms
        return {
            "worker": self.worker.name,
            "start": iso(begun.started_at_ms),
            "end": iso(ended_ms),
            "reason": str(outcome.reason),
            "verdict": outcome.verdict,
        }


def grant(request: ExecutionRequest, ceiling: Limits) -> Limits:
    """The limits a request gets: its own; the queue's defaults are cut down to the ceiling.

    Raises:
        LimitTooHigh: it names a limit above the ceiling. What was asked for is never quietly lowered.
    """
    default = DEFAULT_LIMITS.get(request.queue, Limits()).as_dict()
    wanted = request.limits.as_dict()
    check_ceiling({name: value for name, value in wanted.items() if value != default[name]}, ceiling, "this worker")
    granted = {name: min(value, getattr(ceiling, name)) for name, value in wanted.items()}
    granted["soft_s"] = min(granted["soft_s"], granted["hard_s"])
    return Limits.from_dict(granted)
