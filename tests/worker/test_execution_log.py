"""The structured log."""

from __future__ import annotations

import io
import json

import pytest

from codeexec_magic.contract import ExecutionRequest, ExecutionResult, Reason, Status, code_hash
from worker.execution_log import ExecutionLog

REQUEST = ExecutionRequest("abc", "print('secret')")
RESULT = ExecutionResult(
    "abc",
    code_hash(REQUEST.code),
    True,
    Status.SUCCEEDED,
    Reason.OK,
    worker_id='w"\n{"event": "forged"}',
    isolation={"level": 2},
    outputs=({"type": "stream", "name": "stdout", "text": "secret\n"},),
)


def written(log: ExecutionLog, stream: io.StringIO) -> list[dict[str, object]]:
    """The log's lines, each of which must be JSON."""
    log.executed(REQUEST, RESULT, "ended")
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_execution_is_one_json_line_with_the_seeds_fields() -> None:
    """A name with a line break in it stays inside its line."""
    stream = io.StringIO()
    (line,) = written(ExecutionLog(stream=stream), stream)
    for name in ("task_id", "code_hash", "success", "execution_time_ms", "memory_used_mb", "retry_count", "worker_id"):
        assert name in line
    assert (line["event"], line["level"], line["isolation_level"], line["reason"]) == ("executed", "info", 2, "ok")


@pytest.mark.parametrize("asked", [False, True])
def test_code_and_output_are_logged_only_when_asked(asked: bool) -> None:
    """By default neither leaves its place."""
    stream = io.StringIO()
    written(ExecutionLog(asked, stream), stream)
    assert ("secret" in stream.getvalue()) is asked


def test_a_dead_letter_is_an_error_without_its_code() -> None:
    """Its line has level error and says how many runs it had."""
    stream = io.StringIO()
    ExecutionLog(stream=stream).dead_letter({"task_id": "abc", "code": "secret", "attempts": [{}, {}]})
    line = json.loads(stream.getvalue())
    assert (line["event"], line["level"], line["runs"]) == ("dead_letter", "error", 2)
    assert "secret" not in stream.getvalue()
