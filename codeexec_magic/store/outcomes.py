"""Outcomes that no attempt reported: of a job that was cancelled while no worker held it, or cannot be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from codeexec_magic.contract import ErrorInfo, ExecutionResult, Reason, Status
from codeexec_magic.store.record import attempts, iso, number, waited_ms


def unreadable_result(
    task_id: str, record: Mapping[str, str], why: str, *, verdict: str | None = None, ended_ms: int | None = None
) -> ExecutionResult:
    """The outcome of a job whose record or request cannot be read.

    Args:
        task_id: the job.
        record: what is there of it.
        why: what is wrong with it, in words that name the job.
        verdict: instead of ``why``, for the line about the outcome.
        ended_ms: when it ended, in server milliseconds. Default: what the record says.
    """
    return ExecutionResult(
        task_id=task_id,
        code_hash=record.get("code_hash", ""),
        success=False,
        status=Status.FAILED,
        reason=Reason.INTERNAL,
        timestamp=iso(number(record, "finished_at") if ended_ms is None else ended_ms),
        error=ErrorInfo("DecodeError", why),
        verdict=verdict or why,
        queue=record.get("queue", ""),
        attempts=attempts(record),
    )


def cancelled_result(
    task_id: str, record: Mapping[str, str], now_ms: int, outputs: Sequence[Mapping[str, Any]]
) -> ExecutionResult:
    """The outcome of a job that was cancelled while no worker held it.

    Args:
        task_id: the job.
        record: of the job.
        now_ms: server milliseconds.
        outputs: what its last attempt wrote.
    """
    closed = attempts(record)
    verdict = "cancelled before it ran"
    if "started_at" in record:  # a try that failed, was handed back or lost its worker
        runs = max(1, len(closed))
        verdict = f"cancelled after {runs} {'run' if runs == 1 else 'runs'}, before it ran again"
    return ExecutionResult(
        task_id=task_id,
        code_hash=record.get("code_hash", ""),
        success=False,
        status=Status.CANCELLED,
        reason=Reason.CANCELLED,
        retry_count=number(record, "failures"),
        timestamp=iso(number(record, "finished_at")),
        error=ErrorInfo("RemoteCancelled", verdict),
        verdict=verdict,
        wait_time_ms=waited_ms(record, Status.CANCELLED, now_ms),
        queue=record.get("queue", ""),
        attempts=closed,
        outputs=tuple(outputs),
    )
