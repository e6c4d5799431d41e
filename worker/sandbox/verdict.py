"""The sentence on a run that people read: which limit was reached, by how much, and the option that raises it."""

from __future__ import annotations

import errno
import math
import re
import signal
from collections.abc import Mapping
from typing import Any, Final

from codeexec_magic.contract import DEFAULT_LIMITS, Reason
from codeexec_magic.limits import HARD_AFTER_SOFT_S, Limits

from .protocol.messages import LARGEST_END, Evidence

#: part of the memory limit below which a peak does not explain a MemoryError
_NEARLY: Final = 0.8
#: memory that a cell needs beside what it asked for, in parts of it
_MARGIN: Final = 1.125

#: the runner's own words, made safe
Report = Mapping[str, Any]


def sentence(reason: Reason, evidence: Evidence, limits: Limits, end: Report | None, code: int | None) -> str:
    """What happened, for people: which limit, the peak, the option that raises it; empty if there is nothing to say.

    Args:
        reason: the classification.
        evidence: what the launcher saw.
        limits: that were in force.
        end: what the runner said, made safe; None if it said nothing.
        code: exit status of the cell's process; negative for a signal, None if nobody knows it.
    """
    after = f"{float(evidence.detail.get('after_s') or evidence.elapsed_s):.1f} s"
    if reason is Reason.DISK and (code == -signal.SIGXFSZ or (end and end["errno"] == errno.EFBIG)):
        evidence = evidence._replace(full="file_mb")
    if reason in (Reason.MEMORY, Reason.TIMEOUT, Reason.CPU, Reason.OUTPUT, Reason.DISK):
        return _limit_verdict(reason, evidence, limits, after, end)
    if reason is Reason.SIGNAL:
        return _signal_verdict(evidence.detail, code)
    if reason is Reason.EXIT:
        early = "" if end else " before the cell's end"
        return f"exit: the process exited with status {code}{early}"
    if reason is Reason.INTERNAL:
        return f"internal: the sandbox broke: {(evidence.problem or 'the run vanished').strip()[-600:]}"
    if reason is Reason.CANCELLED:
        return f"cancelled after {after}"
    if reason is Reason.ERROR and end:
        name, text = short(end["error"].get("ename") or "Error", 256), short(end["error"].get("evalue") or "", 4096)
        first = text.splitlines()[0][:200] if text.splitlines() else ""
        return f"error: {name}: {first}" if first else f"error: {name}"
    if evidence.oom_kills:
        return f"ok, but child processes were killed at the memory limit of {limits.memory_mb} MB"
    if evidence.cut:
        return "ok, but the process did not end within a second of the cell's end and was killed"
    return ""


def crowd(evidence: Evidence, limits: Limits, end: Report | None) -> str:
    """What the limits of processes and threads did, by count or, where nobody counts, by the error the cell got.

    Args:
        evidence: what the launcher saw.
        limits: that were in force.
        end: what the runner said, made safe; None if it said nothing.
    """
    processes, tasks = evidence.processes_refused, evidence.tasks_refused
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


def lacking(evidence: Evidence, end: Report | None) -> str:
    """What the cell's error asked for and no cell has: a network where none was granted, a pseudo-terminal.

    Args:
        evidence: what the launcher saw.
        end: what the runner said, made safe; None if it said nothing.
    """
    kinds = end["kinds"] if end else ()
    network = evidence.isolation.get("network")
    if "NoTerminal" in kinds:
        return "terminal: cells have no pseudo-terminals; use pipes, as subprocess and pexpect.popen_spawn do"
    if "NoNetwork" in kinds and network != "host":
        own = ", and localhost is the cell's own" if network == "none" else ""
        return f"network: cells have no network{own}; --network asks for it, and the workers must allow it"
    return ""


def _raise(name: str, limit: float) -> str:
    """How a limit is raised for which the magic has no option of its own."""
    return f"--limit {name}={limit * 2:g} raises it"


def _limit_verdict(reason: Reason, evidence: Evidence, limits: Limits, after: str, end: Report | None) -> str:
    detail = evidence.detail
    longer = f"--timeout {limits.soft_s * 2:g} raises it"
    if reason is Reason.MEMORY:
        return _memory_verdict(evidence, limits, after, end)
    if reason is Reason.TIMEOUT:
        kind, limit = ("hard", limits.hard_s) if evidence.kill else ("soft", limits.soft_s)
        return f"timeout: {kind} limit of {limit:g} s reached after {after}; {longer}"
    if reason is Reason.CPU:
        used = float(detail.get("cpu_s") or evidence.cpu_s)
        reached = f"limit of {limits.cpu_s:g} processor seconds reached, used {used:.1f} s after {after}"
        return f"cpu: {reached}; {_more_cpu(limits)}"
    if reason is Reason.OUTPUT:
        sent = int(detail.get("bytes") or 0) >> 10
        if detail.get("stream") == "end":
            cap = LARGEST_END >> 10
            return f"output: the report of the cell's end came to {sent} kB after {after}, its limit is {cap} kB"
        what = f"{detail.get('stream', 'output')} came to {sent} kB after {after}"
        return f"output: {what}, {limits.output_kb} kB are kept and ten times that ends a run; print less, or to a file"
    return _disk_verdict(str(detail.get("full") or evidence.full), limits, after)


def _memory_verdict(evidence: Evidence, limits: Limits, after: str, end: Report | None) -> str:
    peak = evidence.peak >> 20
    from_error = end is not None and end["status"] == "error"
    if from_error and peak < limits.memory_mb * _NEARLY:
        # one request that could not be met leaves no trace in the peak
        asked = _asked_mb(end)
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


def _asked_mb(end: Report | None) -> int:
    """How much one request asked for, as numpy words it; 0 if nobody says."""
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


def short(value: Any, cap: int) -> str:
    """Text from a cell, cut; only text is made text, because anything else could be huge.

    Args:
        value: from the cell.
        cap: characters at most.
    """
    return value[:cap] if isinstance(value, str) else "Error"
