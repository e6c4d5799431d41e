"""What a model reads of a cell."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from codeexec_magic.agents.transcript import json_value, output_text
from codeexec_magic.contract import ExecutionResult, Reason, Status


def result_of(texts: Sequence[str]) -> ExecutionResult:
    """A cell that printed these pieces."""
    events = tuple({"type": "stream", "name": "stdout", "text": text} for text in texts)
    return ExecutionResult("t", "h", True, Status.SUCCEEDED, Reason.OK, outputs=events)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("10%\r50%\r100%\n", "100%\n"),
        ("10%\r100%\r\n", "100%\n"),
        ("10%\r100%\r", "100%"),
        ("a\r\nb\r\r\nc", "a\nb\nc"),
        ("kept\n\rkept, too", "kept\nkept, too"),
        ("\r\r\r", ""),
        ("", ""),
    ],
)
def test_a_progress_bar_is_read_as_it_looks_at_last(written: str, read: str) -> None:
    """However its pieces arrive."""
    assert output_text(result_of([written])) == read
    assert output_text(result_of(list(written))) == read


@pytest.mark.parametrize("piece", ["x", "\r", "x\r", "\x1b", "\x1b]", "\n", "x\n", " \r\n"])
def test_reading_takes_time_in_proportion_to_the_output(piece: str) -> None:
    """Two million pieces without an end: a pattern that tries each start again would take hours."""
    assert len(output_text(result_of([piece * 2_000_000]))) < 17_000


def test_a_value_that_is_no_json_is_described() -> None:
    """Nothing that a program cannot read, and nothing too long."""
    assert json_value({"a": [1, None]}) == {"a": [1, None]}
    assert json_value({1, 2}) == {"type": "set", "text": "{1, 2}"}
    assert json_value(float("nan")) == {"type": "float", "text": "nan"}
    assert "characters left out" in json_value("x" * 50_000)["text"]
