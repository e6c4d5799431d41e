"""Celery's own result entries."""

from __future__ import annotations

import json

from support import PrivateServer, wait_until

from codeexec_magic.contract import ExecutionResult, Reason, Status
from codeexec_magic.settings import Settings
from codeexec_magic.store.celery_results import CeleryResults


def result(task_id: str) -> ExecutionResult:
    """Some outcome."""
    return ExecutionResult(task_id, "sha256:0", success=True, status=Status.SUCCEEDED, reason=Reason.OK)


def test_an_entry_recorded_soon_arrives_by_itself(redis_server: PrivateServer) -> None:
    """The caller does not wait, and the entry is there a moment later, again after a pause."""
    results = CeleryResults(redis_server.backend_url, Settings())
    for task_id in ("soon-1", "soon-2"):
        results.record_soon(result(task_id))
        wait_until(lambda task_id=task_id: not results.missing([task_id]), 10, "the entry")
    entry = json.loads(results.redis.get("celery-task-meta-soon-2") or "")
    assert (entry["status"], entry["result"]["task_id"]) == ("SUCCESS", "soon-2")
    results.close()


def test_closing_writes_what_waits(redis_server: PrivateServer) -> None:
    """Nothing that was to be recorded soon is lost by closing at once."""
    results = CeleryResults(redis_server.backend_url, Settings())
    names = [f"closed-{number}" for number in range(20)]
    for name in names:
        results.record_soon(result(name))
    results.close()
    assert CeleryResults(redis_server.backend_url, Settings()).missing(names) == []


def test_a_lost_backend_does_not_reach_the_caller() -> None:
    """A result backend that cannot be reached costs the entry, not the answer."""
    results = CeleryResults("redis://127.0.0.1:1/0", Settings())
    results.record_soon(result("nowhere"))
    results.close()
    results.record_soon(result("nowhere"))
    results.close()
