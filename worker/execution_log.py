"""What a worker tells the outside: one structured log line per execution."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import IO, Any

from codeexec_magic.contract import ExecutionRequest, ExecutionResult


class ExecutionLog:
    """One JSON object per line on standard error, apart from Celery's log, so that a collector needs no parser.

    json.dumps escapes whatever a cell may have put into a name or message: no cell can forge a line.

    Args:
        with_code: put code and output into the line too.
        stream: where the lines go.
    """

    def __init__(self, with_code: bool = False, stream: IO[str] | None = None) -> None:
        self.with_code = with_code
        self._log = logging.Logger("codeexec.execution", logging.INFO)  # no parent: nobody puts a prefix before it
        handler = logging.StreamHandler(stream or sys.__stderr__)
        handler.setFormatter(logging.Formatter("%(message)s"))
        self._log.addHandler(handler)

    def _line(self, level: int, event: str, fields: Mapping[str, Any]) -> None:
        told = datetime.now(UTC).isoformat(timespec="milliseconds")
        name = logging.getLevelName(level).lower()
        self._log.log(level, json.dumps({"time": told, "level": name, "event": event, **fields}))

    def executed(self, request: ExecutionRequest, result: ExecutionResult, verdict: str) -> None:
        """An attempt was recorded (``ended``, ``retrying``) or fenced out."""
        line: dict[str, Any] = {
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
            "isolation_level": result.isolation.get("level"),
            "recorded": verdict,
        }
        if self.with_code:
            line |= {"code": request.code, "stdout": result.stdout, "stderr": result.stderr}
        self._line(logging.INFO, "executed", line)

    def skipped(self, task_id: str, why: str) -> None:
        """A message that asked for nothing: a duplicate, or its job ended meanwhile."""
        self._line(logging.INFO, "skipped", {"task_id": task_id, "why": why})

    def fenced(self, task_id: str) -> None:
        """An attempt that was superseded while it ran."""
        self._line(logging.WARNING, "fenced", {"task_id": task_id})

    def handed_back(self, task_id: str) -> None:
        """A cell stopped by this worker's shutdown, for another worker to run."""
        self._line(logging.INFO, "handed_back", {"task_id": task_id})

    def dead_letter(self, letter: Mapping[str, Any]) -> None:
        """A job gave up for good."""
        names = ("task_id", "code_hash", "queue", "reason", "verdict", "first_at", "last_at")
        shown = {name: letter.get(name) for name in names}
        self._line(logging.ERROR, "dead_letter", {**shown, "runs": len(letter.get("attempts", ()))})
