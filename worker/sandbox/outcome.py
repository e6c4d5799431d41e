"""The verdict on a run, from the launcher's evidence and never from what the cell wrote."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from codeexec_magic.contract import ErrorInfo, Reason
from codeexec_magic.hostile_text import one_line
from codeexec_magic.limits import Limits

from . import verdict
from .protocol.messages import EndReport, Evidence
from .protocol.signals import SOFT_LIMIT

_DISK_ERRORS: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_LIST_CAP: Final = 256
#: files left behind that are told
_MOST_FILES: Final = 20
#: characters kept of a traceback; the runner keeps to less by itself
_TRACEBACK_CAP: Final = 256 << 10


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    reason: Reason
    success: bool
    returncode: int | None = None  #: exit status of the cell's process; negative for a signal
    error: ErrorInfo | None = None
    verdict: str = ""  #: one line for people: which limit, the peak, the option that raises it
    execution_time_ms: int = 0
    memory_used_mb: float | None = None
    cpu_time_ms: int = 0
    start_ms: float | None = None  #: from the worker's order until a sandbox had the code; None if none ever had it
    limits: Mapping[str, Any] = field(default_factory=dict)
    isolation: Mapping[str, Any] = field(default_factory=dict)
    truncated: Mapping[str, Any] = field(default_factory=dict)
    left_behind: tuple[tuple[str, int], ...] = ()  #: files that nobody asked for: name and size, by the cell's word


def judge(evidence: Evidence, limits: Limits) -> Outcome:
    """Classify a run.

    The order matters: what the launcher did comes before what the kernel did, and that before what the cell says.

    Args:
        evidence: what the launcher saw.
        limits: that were in force.
    """
    end = _report(evidence.end)
    code = _returncode(evidence.status)
    if code is None and end and not evidence.kill:
        code = end["code"]  # cut in its exit phase: the cell itself had ended
    reason = _reason(evidence, end, code, limits)
    crowd = verdict.crowd(evidence, limits, end)
    lacking = verdict.lacking(evidence, end) if reason is Reason.ERROR else ""
    notes = [note for note in (crowd, lacking) if note]
    error = _error(end, notes if reason is Reason.ERROR else []) if end and end["status"] == "error" else None
    if reason is Reason.CANCELLED:
        error = None
    return Outcome(
        reason=reason,
        success=reason is Reason.OK,
        returncode=code,
        error=error,
        verdict="; ".join(filter(None, [*notes, verdict.sentence(reason, evidence, limits, end, code)])),
        execution_time_ms=round(evidence.elapsed_s * 1000),
        memory_used_mb=round(evidence.peak / (1 << 20), 1) if evidence.peak else None,
        cpu_time_ms=round(evidence.cpu_s * 1000),
        start_ms=None if evidence.start_s is None else round(1000 * evidence.start_s, 3),
        limits=limits.as_dict(),
        isolation=dict(evidence.isolation),
        truncated=dict(evidence.truncated),
        left_behind=_left_behind(end["left"]) if end else (),
    )


def broken(why: str, limits: Limits, isolation: Mapping[str, Any] | None = None) -> Outcome:
    """The outcome of a run whose launcher is gone or never took it."""
    return judge(Evidence(problem=why, isolation=dict(isolation or {})), limits)


def _reason(evidence: Evidence, end: Mapping[str, Any] | None, code: int | None, limits: Limits) -> Reason:
    if evidence.kill:
        return Reason(evidence.kill)
    if evidence.init_died and evidence.oom_kills:
        return Reason.MEMORY  # init is in the group as well: where killing the cell did not free enough, it came next
    if evidence.problem or code is None:
        return Reason.INTERNAL
    kinds = end["kinds"] if end else ()
    # by the signal itself dies a process that has already given up its handlers, at its very end or wilfully
    if evidence.soft and ("SoftTimeLimitExceeded" in kinds or code == -SOFT_LIMIT):
        return Reason.TIMEOUT
    if (code == -signal.SIGKILL and evidence.oom_kills) or "MemoryError" in kinds:
        return Reason.MEMORY
    if code == -signal.SIGXFSZ or (end and end["errno"] in _DISK_ERRORS):
        return Reason.DISK
    if code < 0:
        by_kernel = code in (-signal.SIGXCPU, -signal.SIGKILL)
        return Reason.CPU if by_kernel and evidence.cpu_s >= limits.cpu_s * 0.95 else Reason.SIGNAL
    if end is None or end["status"] == "exit":
        return Reason.EXIT  # also code 0: it left before the cell's end
    if end["status"] == "error":
        return Reason.ERROR
    return Reason.OK if code == 0 else Reason.EXIT


def _returncode(status: int | None) -> int | None:
    return None if status is None else os.waitstatus_to_exitcode(status)


def _report(end: EndReport | None) -> dict[str, Any] | None:
    """The runner's own words, made safe: they may claim no more than the process's end bears out."""
    if end is None:
        return None
    kind = end.status if end.status in ("ok", "error", "exit") else "error"
    error = end.error or {}
    kinds = error.get("kinds")
    return {
        "status": kind,
        "code": end.code if 0 <= end.code < 256 else (1 if kind == "error" else 0),
        "error": error,
        "kinds": tuple(str(k) for k in kinds[:4]) if isinstance(kinds, list) else (),
        "errno": error.get("errno") if isinstance(error.get("errno"), int) else None,
        "left": end.left,
    }


def _left_behind(files: Any) -> tuple[tuple[str, int], ...]:
    """Names and sizes of files, as far as they are some."""
    found = []
    for one in files[:_MOST_FILES] if isinstance(files, list) else ():
        if isinstance(one, list) and len(one) == 2 and isinstance(one[0], str) and type(one[1]) is int:
            found.append((one_line(one[0], 200), min(max(one[1], 0), 1 << 50)))
    return tuple(found)


def _error(end: Mapping[str, Any], notes: list[str]) -> ErrorInfo:
    """The cell's exception; notes on the limit behind it stand where Python puts an exception's notes."""
    error = end["error"]
    lines = error.get("traceback")
    kept, room = [], _TRACEBACK_CAP
    for line in lines[:_LIST_CAP] if isinstance(lines, list) else ():
        kept.append(str(line)[:room])
        room -= len(kept[-1])
    kept += [f"note: {note}" for note in notes]
    return ErrorInfo(
        verdict.short(error.get("ename") or "Error", 256),
        verdict.short(error.get("evalue") or "", 64 << 10),
        tuple(kept),
    )
