"""Reads the fields of a job's record; a field that is damaged reads as an empty one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from codeexec_magic.contract import Status, decode_attempts

_YEAR_10000_MS: Final = 253_402_300_800_000


def number(record: Mapping[str, Any], name: str) -> int:
    """A time or count in a record, at least 0; a value that is no number, or beyond the year 9999, counts as 0.

    Args:
        record: of a job, or its result.
        name: of the field.
    """
    try:
        value = int(float(record.get(name) or 0))
    except (ValueError, TypeError, OverflowError):
        return 0
    return value if 0 <= value < _YEAR_10000_MS else 0


def attempts(record: Mapping[str, str]) -> tuple[dict[str, Any], ...]:
    """The closed attempts, oldest first."""
    try:
        return decode_attempts(json.loads(f"[{record.get('attempts', '')}]"))
    except (ValueError, RecursionError):  # a DecodeError is a ValueError
        return ()


def iso(ms: float) -> str:
    """Server milliseconds as ISO 8601, UTC."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds") if ms else ""


def waited_ms(run: Mapping[str, str], status: Status, now_ms: int) -> int:
    """How long a run waited in its queue so far; one that was cancelled there waited until then."""
    waited = number(run, "waited_ms")
    if status is Status.QUEUED:
        return waited + max(0, now_ms - number(run, "queued_at"))
    if status.terminal and number(run, "queued_at") > number(run, "started_at"):
        return waited + max(0, number(run, "finished_at") - number(run, "queued_at"))
    return waited


def last_run_ms(run: Mapping[str, str]) -> int:
    """How long the last attempt ran, for a job that waits for its next attempt or was cancelled while it waited."""
    closed = attempts(run)
    try:
        start, end = (datetime.fromisoformat(closed[-1][name]) for name in ("start", "end"))
        return max(0, round((end - start).total_seconds() * 1000))
    except (IndexError, KeyError, ValueError, TypeError, OverflowError):
        return 0


def json_object(value: Any) -> dict[str, Any]:
    """An object, given as one or as JSON; anything else is an empty one."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {}
    return value if isinstance(value, dict) else {}
