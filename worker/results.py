"""The outcomes that a worker records: of an attempt that ran, and of a job whose workers died."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from codeexec_magic.contract import ErrorInfo, ExecutionRequest, ExecutionResult, Reason, Status, code_hash
from codeexec_magic.store import Begun
from codeexec_magic.store.record import iso
from worker.exchange import Exchange
from worker.publisher import Publisher
from worker.sandbox import Outcome


def attempt_result(
    begun: Begun,
    outcome: Outcome,
    status: Status,
    attempt_record: Mapping[str, Any],
    publisher: Publisher,
    exchange: Exchange,
) -> ExecutionResult:
    """The outcome of an attempt that ran.

    Args:
        begun: the attempt as the store opened it.
        outcome: what the sandbox says.
        status: what becomes of the job.
        attempt_record: what the timeline of the job will say of the attempt.
        publisher: has the output events.
        exchange: has the values and files that came back.
    """
    truncated = dict(outcome.truncated)
    if publisher.removed:
        truncated["removed"] = publisher.removed
    return ExecutionResult(
        task_id=begun.request.task_id,
        code_hash=code_hash(begun.request.code),
        success=outcome.success,
        status=status,
        reason=outcome.reason,
        returncode=outcome.returncode,
        execution_time_ms=outcome.execution_time_ms,
        memory_used_mb=outcome.memory_used_mb,
        retry_count=begun.failures,
        timestamp=str(attempt_record["end"]),
        worker_id=str(attempt_record["worker"]),
        error=outcome.error,
        verdict=outcome.verdict,
        wait_time_ms=begun.waited_ms,
        queue=begun.request.queue,
        attempts=(*begun.attempts, attempt_record),
        limits=outcome.limits,
        isolation=outcome.isolation,
        truncated=truncated,
        values=exchange.values if outcome.success else {},
        value_problems=exchange.problems if outcome.success else {},
        files=exchange.files,
        left_behind=outcome.left_behind,
        outputs=tuple(publisher.kept),
    )


def lost_result(
    request: ExecutionRequest,
    status: Status,
    retries: int,
    attempts: tuple[Mapping[str, Any], ...],
    ended_ms: int,
    waited: int,
) -> ExecutionResult:
    """The outcome of a job whose workers died under it.

    Args:
        request: the job.
        status: what becomes of it.
        retries: its failed runs before, which were retried.
        attempts: all of them, the last one included.
        ended_ms: when the last worker was found dead, in server milliseconds.
        waited: how long it waited in its queue, in milliseconds.
    """
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
