"""What a worker tells the outside: one structured log line per execution."""

from __future__ import annotations

import json
import logging
from typing import Any

from codeexec_magic.contract import ExecutionRequest, ExecutionResult

log = logging.getLogger("codeexec.execution")


class ExecutionLog:
    """One JSON line per execution; json.dumps escapes whatever a cell may have put into a name or message.

    Args:
        with_code: put code and output into the line too.
    """

    def __init__(self, with_code: bool = False) -> None:
        self.with_code = with_code

    def executed(self, request: ExecutionRequest, result: ExecutionResult, verdict: str) -> None:
        """An attempt was recorded (``ended``, ``retrying``) or fenced out."""
        isolation = result.isolation
        line: dict[str, Any] = {
            "event": "executed",
            "task_id": result.task_id,
            "code_hash": result.code_hash,
            "success": result.success,
            "execution_time_ms": result.execution_time_ms,
            "memory_used_mb": result.memory_used_mb,
            "retry_count": result.retry_count,
            "worker_id": result.worker_id,
            "status": str(result.status),
            "reason": str(result.reason),
            "wait_time_ms": result.wait_time_ms,
            "queue": result.queue,
            "isolation_level": isolation.get("level"),
            "recorded": verdict,
        }
        if self.with_code:
            line |= {"code": request.code, "stdout": result.stdout, "stderr": result.stderr}
        log.info(json.dumps(line))

    def skipped(self, task_id: str, why: str) -> None:
        """A message that asked for nothing: a duplicate, or its job ended meanwhile."""
        log.info(json.dumps({"event": "skipped", "task_id": task_id, "why": why}))

    def fenced(self, task_id: str) -> None:
        """An attempt that was superseded while it ran."""
        log.warning(json.dumps({"event": "fenced", "task_id": task_id}))

    def handed_back(self, task_id: str) -> None:
        """A cell stopped by this worker's shutdown, for another worker to run."""
        log.info(json.dumps({"event": "handed_back", "task_id": task_id}))

    def dead_letter(self, letter: Any) -> None:
        """A job gave up for good."""
        shown = {
            key: letter.get(key)
            for key in ("task_id", "code_hash", "queue", "reason", "verdict", "first_at", "last_at")
        }
        log.error(json.dumps({"event": "dead_letter", **shown, "runs": len(letter.get("attempts", ()))}))
