"""The verdict on a run, from the launcher's evidence and never from what the cell wrote."""

from __future__ import annotations

import errno
import math
import os
import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from codeexec_magic.contract import DEFAULT_LIMITS, ErrorInfo, Reason
from codeexec_magic.hostile_text import one_line
from codeexec_magic.limits import HARD_AFTER_SOFT_S, Limits

_DISK_ERRORS: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_LIST_CAP: Final = 256
#: files left behind that are told
_MOST_FILES: Final = 20
#: part of the memory limit below which a peak does not explain a MemoryError
_NEARLY: Final = 0.8
#: memory that a cell needs beside what it asked for, in parts of it
_MARGIN: Final = 1.125
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


def judge(evidence: Mapping[str, Any], limits: Limits) -> Outcome:
    """Classify a run.

    The order matters: what the launcher did comes before what the kernel did, and that before what the cell says.

    Args:
        evidence: what the launcher saw.
        limits: that were in force.
    """
    end = _report(evidence.get("end"))
    code = _returncode(evidence.get("status"))
    if code is None and end and not evidence.get("kill"):
        code = end["code"]  # cut in its exit phase: the cell itself had ended
    reason = _reason(evidence, end, code, limits)
    crowd = _crowd(evidence, limits, end)
    error = _error(end, crowd if reason is Reason.ERROR else "") if end and end["status"] == "error" else None
    if reason is Reason.CANCELLED:
        error = None
    peak = evidence.get("peak") or 0
    return Outcome(
        reason=reason,
        success=reason is Reason.OK,
        returncode=code,
        error=error,
        verdict="; ".join(filter(None, [crowd, _verdict(reason, evidence, limits, code, error)])),
        execution_time_ms=round(float(evidence.get("elapsed_s") or 0.0) * 1000),
        memory_used_mb=round(peak / (1 << 20), 1) if peak else None,
        cpu_time_ms=round(float(evidence.get("cpu_s") or 0.0) * 1000),
        start_ms=round(1000 * float(evidence["start_s"]), 3) if evidence.get("start_s") is not None else None,
        limits=limits.as_dict(),
        isolation=dict(evidence.get("isolation") or {}),
        truncated=dict(evidence.get("truncated") or {}),
        left_behind=_left_behind(end["left"]) if end else (),
    )


def broken(why: str, limits: Limits, isolation: Mapping[str, Any] | None = None) -> Outcome:
    """The outcome of a run whose launcher is gone or never took it."""
    return judge({"problem": why, "isolation": isolation or {}}, limits)


def _reason(evidence: Mapping[str, Any], end: Mapping[str, Any] | None, code: int | None, limits: Limits) -> Reason:
    kill = evidence.get("kill")
    if kill:
        return Reason(kill)
    if evidence.get("init_died") and evidence.get("oom_kills"):
        return Reason.MEMORY  # init is in the group as well: where killing the cell did not free enough, it came next
    if evidence.get("problem") or code is None:
        return Reason.INTERNAL
    kinds = end["kinds"] if end else ()
    if evidence.get("soft") and "SoftTimeLimitExceeded" in kinds:
        return Reason.TIMEOUT
    if (code == -signal.SIGKILL and evidence.get("oom_kills")) or "MemoryError" in kinds:
        return Reason.MEMORY
    if code == -signal.SIGXFSZ or (end and end["errno"] in _DISK_ERRORS):
        return Reason.DISK
    if code < 0:
        spent = float(evidence.get("cpu_s") or 0.0)
        by_kernel = code in (-signal.SIGXCPU, -signal.SIGKILL)
        return Reason.CPU if by_kernel and spent >= limits.cpu_s * 0.95 else Reason.SIGNAL
    if end is None or end["status"] == "exit":
        return Reason.EXIT  # also code 0: it left before the cell's end
    if end["status"] == "error":
        return Reason.ERROR
    return Reason.OK if code == 0 else Reason.EXIT


def _verdict(
    reason: Reason, evidence: Mapping[str, Any], limits: Limits, code: int | None, error: ErrorInfo | None
) -> str:
    detail = evidence.get("detail") or {}
    after = f"{float(detail.get('after_s') or evidence.get('elapsed_s') or 0.0):.1f} s"
    if reason is Reason.DISK and _file_too_large(evidence, code):
        evidence = {**evidence, "full": "file_mb"}
    if reason in (Reason.MEMORY, Reason.TIMEOUT, Reason.CPU, Reason.OUTPUT, Reason.DISK):
        return _limit_verdict(reason, evidence, limits, after, from_error=error is not None)
    if reason is Reason.SIGNAL:
        return _signal_verdict(detail, code)
    if reason is Reason.EXIT:
        early = "" if evidence.get("end") else " before the cell's end"
        return f"exit: the process exited with status {code}{early}"
    if reason is Reason.INTERNAL:
        return f"internal: the sandbox broke: {str(evidence.get('problem') or 'the run vanished').strip()[-600:]}"
    if reason is Reason.CANCELLED:
        return f"cancelled after {after}"
    if reason is Reason.ERROR and error:
        first = error.evalue.splitlines()[0][:200] if error.evalue else ""
        return f"error: {error.ename}: {first}" if first else f"error: {error.ename}"
    if evidence.get("oom_kills"):
        return f"ok, but child processes were killed at the memory limit of {limits.memory_mb} MB"
    if evidence.get("cut"):
        return "ok, but the process did not end within a second of the cell's end and was killed"
    return ""


def _crowd(evidence: Mapping[str, Any], limits: Limits, end: Mapping[str, Any] | None) -> str:
    """What the limits of processes and threads did, by count or, where nobody counts, by the error the cell got."""
    processes, tasks = evidence.get("processes_refused"), evidence.get("tasks_refused")
    refused = bool(end and "TaskRefused" in end["kinds"])
    if processes:
        reached = f"limit of {limits.processes} processes reached, {processes} refused"
        return f"processes: {reached}; {_raise('processes', limits.processes)}"
    if not tasks and not (tasks is None and refused):
        if refused:  # by no limit of theirs: there was no room for the stack
            why = f"each thread's stack takes 8 MB of the limit of {limits.memory_mb} MB"
            more = _more(limits.memory_mb)
            return f"memory: no room for another thread or process, {why}; --memory {more} raises it"
        return ""
    more = f", {tasks} refused" if tasks else ""
    if processes is None:  # nobody can tell them apart
        reached = f"limit of {limits.processes} processes and threads reached{more}"
        return f"processes: {reached}; {_raise('processes', limits.processes)}"
    return f"tasks: limit of {limits.tasks} threads reached{more}; {_raise('tasks', limits.tasks)}"


def _raise(name: str, limit: float) -> str:
    """How a limit is raised for which the magic has no option of its own."""
    return f"--limit {name}={limit * 2:g} raises it"


def _file_too_large(evidence: Mapping[str, Any], code: int | None) -> bool:
    end = _report(evidence.get("end"))
    return code == -signal.SIGXFSZ or bool(end and end["errno"] == errno.EFBIG)


def _limit_verdict(reason: Reason, evidence: Mapping[str, Any], limits: Limits, after: str, *, from_error: bool) -> str:
    detail = evidence.get("detail") or {}
    longer = f"--timeout {limits.soft_s * 2:g} raises it"
    if reason is Reason.MEMORY:
        return _memory_verdict(evidence, limits, after, from_error=from_error)
    if reason is Reason.TIMEOUT:
        kind, limit = ("hard", limits.hard_s) if evidence.get("kill") else ("soft", limits.soft_s)
        return f"timeout: {kind} limit of {limit:g} s reached after {after}; {longer}"
    if reason is Reason.CPU:
        used = float(detail.get("cpu_s") or evidence.get("cpu_s") or 0.0)
        reached = f"limit of {limits.cpu_s:g} processor seconds reached, used {used:.1f} s after {after}"
        return f"cpu: {reached}; {_more_cpu(limits)}"
    if reason is Reason.OUTPUT:
        sent = int(detail.get("bytes") or 0) >> 10
        what = f"{detail.get('stream', 'output')} came to {sent} kB after {after}"
        return f"output: {what}, {limits.output_kb} kB are kept and ten times that ends a run; print less, or to a file"
    return _disk_verdict(str(detail.get("full") or evidence.get("full") or ""), limits, after)


def _memory_verdict(evidence: Mapping[str, Any], limits: Limits, after: str, *, from_error: bool) -> str:
    peak = (evidence.get("peak") or 0) >> 20
    if from_error and peak < limits.memory_mb * _NEARLY:
        # one request that could not be met leaves no trace in the peak
        asked = _asked_mb(evidence)
        what = f"{asked} MB" if asked else f"more than {limits.memory_mb - peak} MB"
        needed = math.ceil((peak + asked) * _MARGIN / 256) * 256 if asked else limits.memory_mb * 2
        least = "" if asked else " or more"
        return (
            f"memory: asked for {what} at once (MemoryError), the limit is {limits.memory_mb} MB, peak {peak} MB after "
            f"{after}; --memory {_size(max(needed, limits.memory_mb + 256))}{least} raises it"
        )
    how = "limit reached (MemoryError)" if from_error else "limit reached"
    more = _more(limits.memory_mb)
    return f"memory: {limits.memory_mb} MB {how}, peak {peak} MB after {after}; --memory {more} raises it"


def _asked_mb(evidence: Mapping[str, Any]) -> int:
    """How much one request asked for, as numpy words it; 0 if nobody says."""
    end = _report(evidence.get("end"))
    text = str(end["error"].get("evalue") or "")[:500] if end else ""
    found = re.search(r"Unable to allocate (\d{1,6}(?:\.\d{0,3})?) (MiB|GiB|TiB) ", text)
    return math.ceil(float(found[1]) * {"MiB": 1, "GiB": 1 << 10, "TiB": 1 << 20}[found[2]]) if found else 0


def _more_cpu(limits: Limits) -> str:
    """What gives more processor time: a longer time limit does only where the one was derived from the other."""
    if limits.cpu_s == limits.hard_s or any(limits.cpu_s == usual.cpu_s for usual in DEFAULT_LIMITS.values()):
        return f"--timeout {limits.cpu_s * 2 - HARD_AFTER_SOFT_S:g} raises it"
    return _raise("cpu_s", limits.cpu_s)


def _disk_verdict(full: str, limits: Limits, after: str) -> str:
    if full == "hidden":
        return f"disk: folders nested too deeply, or closed to be read, cannot be measured; killed after {after}"
    kinds = {
        "file_mb": f"limit of {limits.file_mb} MB for one file",
        "disk_mb": f"limit of {limits.disk_mb} MB for all files together",
        "inodes": f"limit of {limits.inodes} files",
        "shm_mb": f"limit of {limits.shm_mb} MB for /dev/shm",
    }
    if full in kinds:
        return f"disk: {kinds[full]} reached after {after}; {_raise(full, getattr(limits, full))}"
    # it asked for more than there was at once, and left no trace of which
    kinds.pop("file_mb")
    return f"disk: no room left after {after}: {', or '.join(kinds.values())}"


def _more(megabytes: int) -> str:
    return _size(megabytes * 2)


def _size(megabytes: int) -> str:
    return f"{megabytes // 1024}GB" if megabytes % 1024 == 0 else f"{megabytes}MB"


def _signal_verdict(detail: Mapping[str, Any], code: int | None) -> str:
    if detail.get("locks"):
        return f"signal: the cell was killed, because it held {detail['locks']}; only files of its own may be locked"
    number = -(code or 0)
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    return f"signal: the cell's process was killed by {name}"


def _returncode(status: Any) -> int | None:
    return os.waitstatus_to_exitcode(status) if isinstance(status, int) else None


def _report(end: Any) -> dict[str, Any] | None:
    """The runner's own words, made safe: they may claim no more than the process's end bears out."""
    if not isinstance(end, dict):
        return None
    status = end.get("status")
    kind = status if status in ("ok", "error", "exit") else "error"
    error = end.get("error") if isinstance(end.get("error"), dict) else {}
    assert isinstance(error, dict)
    code = end.get("code")
    kinds = error.get("kinds")
    return {
        "status": kind,
        "code": code if isinstance(code, int) and 0 <= code < 256 else (1 if kind == "error" else 0),
        "error": error,
        "kinds": tuple(str(k) for k in kinds[:4]) if isinstance(kinds, list) else (),
        "errno": error.get("errno") if isinstance(error.get("errno"), int) else None,
        "left": end.get("left"),
    }


def _left_behind(files: Any) -> tuple[tuple[str, int], ...]:
    """Names and sizes of files, as far as they are some."""
    found = []
    for one in files[:_MOST_FILES] if isinstance(files, list) else ():
        if isinstance(one, list) and len(one) == 2 and isinstance(one[0], str) and type(one[1]) is int:
            found.append((one_line(one[0], 200), min(max(one[1], 0), 1 << 50)))
    return tuple(found)


def _error(end: Mapping[str, Any], note: str) -> ErrorInfo:
    """The cell's exception; a note on the limit behind it stands where Python puts an exception's notes."""
    error = end["error"]
    lines = error.get("traceback")
    kept, room = [], _TRACEBACK_CAP
    for line in lines[:_LIST_CAP] if isinstance(lines, list) else ():
        kept.append(str(line)[:room])
        room -= len(kept[-1])
    if note:
        kept.append(f"note: {note}")
    return ErrorInfo(
        _short(error.get("ename") or "Error", 256), _short(error.get("evalue") or "", 64 << 10), tuple(kept)
    )


def _short(value: Any, cap: int) -> str:
    # only text is made text: anything else could be huge, and is no name or message
    return value[:cap] if isinstance(value, str) else "Error"
