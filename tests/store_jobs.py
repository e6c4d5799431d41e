"""Jobs that tests put into a store without any worker."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from typing import Any

from codeexec_magic.contract import ExecutionRequest, ExecutionResult, Reason, Status, code_hash
from codeexec_magic.store import Begun, JobStore
from codeexec_magic.store.attempt_end import AttemptEnd
from codeexec_magic.store.dead_letters import DeadLetter

QUEUE = "code_execution"


def request(code: str = "1 + 1", **changes: Any) -> ExecutionRequest:
    """A request with a fresh id."""
    return replace(ExecutionRequest(task_id=str(uuid.uuid4()), code=code), **changes)


def result(of: ExecutionRequest, status: Status = Status.SUCCEEDED, reason: Reason = Reason.OK) -> ExecutionResult:
    """An outcome of a request."""
    return ExecutionResult(
        of.task_id, code_hash(of.code), status is Status.SUCCEEDED, status, reason, verdict="made up"
    )


def begin(store: JobStore, task_id: str, generation: int = 1, attempt: str = "a1") -> Begun:
    """Open an attempt that must open."""
    begun = store.begin(task_id, generation, attempt, "w1")
    assert isinstance(begun, Begun)
    return begun


def messages(store: JobStore) -> list[list[Any]]:
    """Arguments of the queued Celery messages, next one first."""
    entries: Any = store.redis.lrange(QUEUE, 0, -1)
    return [json.loads(json.loads(entry)["body"])[0] for entry in reversed(entries)]


def run_to_success(store: JobStore, one: ExecutionRequest, environment: str = "unknown") -> None:
    """Submit, begin, emit, finish."""
    assert store.submit(one).outcome == "queued"
    begin(store, one.task_id)
    assert store.emit(one.task_id, "a1", [{"type": "stream", "name": "stdout", "text": "hi\n"}]) == "ok"
    verdict, _ = store.finish(
        one.task_id,
        "a1",
        AttemptEnd("end", Reason.OK, status=Status.SUCCEEDED, result=result(one), environment=environment),
    )
    assert verdict == "ended"


def bury(store: JobStore, one: ExecutionRequest) -> None:
    """Make a dead letter of a job."""
    store.submit(one)
    begin(store, one.task_id)
    final = result(one, Status.DEAD_LETTERED, Reason.MEMORY)
    letter = DeadLetter.of(one, final, "2026-01-01T00:00:00+00:00").as_dict()
    store.finish(
        one.task_id,
        "a1",
        AttemptEnd("end", Reason.MEMORY, status=Status.DEAD_LETTERED, result=final, dead_letter=letter),
    )
