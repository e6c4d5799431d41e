"""The verdict follows the evidence, in the order that matters."""

from __future__ import annotations

import re
import signal
from typing import Any

import pytest

from codeexec_magic.contract import DEFAULT_LIMITS, Reason
from codeexec_magic.limits import Limits
from codeexec_magic.request import asked_limits
from worker.sandbox.outcome import Outcome, broken
from worker.sandbox.outcome import judge as judge_evidence
from worker.sandbox.protocol.messages import EndReport, Evidence
from worker.sandbox.protocol.signals import SOFT_LIMIT

LIMITS = Limits(memory_mb=1024, cpu_s=10)
OK = {"status": "ok", "left": [["a", 1]]}


def judge(fields: dict[str, Any], limits: Limits) -> Outcome:
    """The verdict on evidence with these fields."""
    end = fields.get("end")
    return judge_evidence(Evidence(**{**fields, "end": end and EndReport("", **end)}), limits)


def error(*kinds: str, errno: int | None = None) -> dict[str, Any]:
    """The runner's report of an exception."""
    return {"status": "error", "error": {"ename": "E", "evalue": "v", "kinds": list(kinds), "errno": errno}}


def exited(code: int) -> int:
    """A wait status."""
    return code << 8


@pytest.mark.parametrize(
    ("evidence", "reason"),
    [
        ({"status": exited(0), "end": OK}, Reason.OK),
        ({"status": exited(1), "end": error()}, Reason.ERROR),
        ({"status": exited(0), "end": None}, Reason.EXIT),
        ({"status": exited(137), "end": None}, Reason.EXIT),
        ({"status": exited(3), "end": {"status": "exit", "code": 3}}, Reason.EXIT),
        # a claim of success does not outweigh a failing status
        ({"status": exited(5), "end": OK}, Reason.EXIT),
        ({"status": int(signal.SIGSEGV), "end": OK}, Reason.SIGNAL),
        ({"status": int(signal.SIGKILL), "end": None}, Reason.SIGNAL),
        ({"status": int(signal.SIGKILL), "end": None, "oom_kills": 1}, Reason.MEMORY),
        # init can be killed for want of memory, too; that is the cell's doing, any other death of it is not
        ({"status": None, "problem": "died", "init_died": True, "oom_kills": 2}, Reason.MEMORY),
        ({"status": None, "problem": "died", "init_died": True, "oom_kills": 0}, Reason.INTERNAL),
        ({"status": None, "problem": "a guard", "init_died": False, "oom_kills": 2}, Reason.INTERNAL),
        # a child was killed for want of memory, the cell itself ended well
        ({"status": exited(0), "end": OK, "oom_kills": 1}, Reason.OK),
        ({"status": exited(1), "end": error("MemoryError")}, Reason.MEMORY),
        ({"status": exited(1), "end": error(errno=28)}, Reason.DISK),
        ({"status": int(signal.SIGXFSZ), "end": None}, Reason.DISK),
        ({"status": int(signal.SIGXCPU), "end": None, "cpu_s": 0.0}, Reason.SIGNAL),
        ({"status": int(signal.SIGXCPU), "end": None, "cpu_s": 10.1}, Reason.CPU),
        ({"status": int(signal.SIGKILL), "end": None, "cpu_s": 10.1}, Reason.CPU),
        ({"status": exited(1), "end": error("SoftTimeLimitExceeded"), "soft": True}, Reason.TIMEOUT),
        # without the launcher's own signal it is only an exception
        ({"status": exited(1), "end": error("SoftTimeLimitExceeded")}, Reason.ERROR),
        ({"status": exited(0), "end": OK, "soft": True}, Reason.OK),
        ({"status": int(SOFT_LIMIT), "end": None, "soft": True}, Reason.TIMEOUT),
        ({"status": int(SOFT_LIMIT), "end": None}, Reason.SIGNAL),
        ({"kill": "timeout", "status": exited(0), "end": OK}, Reason.TIMEOUT),
        ({"kill": "cancelled", "end": OK}, Reason.CANCELLED),
        ({"kill": "output", "oom_kills": 1}, Reason.OUTPUT),
        ({"kill": "memory"}, Reason.MEMORY),
        ({"problem": "the zygote died"}, Reason.INTERNAL),
        ({"status": exited(0), "end": OK, "problem": "a guard failed"}, Reason.INTERNAL),
        ({}, Reason.INTERNAL),
        # cut in its exit phase: the cell itself had ended
        ({"end": OK, "cut": True}, Reason.OK),
        ({"end": error(), "cut": True}, Reason.ERROR),
    ],
)
def test_classification(evidence: dict[str, Any], reason: Reason) -> None:
    """Kill flag before kernel events before the cell's own words."""
    outcome = judge(evidence, LIMITS)
    assert outcome.reason is reason
    assert outcome.success is (reason is Reason.OK)


@pytest.mark.parametrize(
    "end",
    [
        None,
        {"status": "ok", "left": [3, {}, [[]]]},
        {"status": "error", "error": {"kinds": 1, "traceback": {"a": 1}, "ename": [], "evalue": {}}},
        {"status": "nonsense", "code": 999},
        {"status": "exit", "code": -5},
    ],
)
def test_nonsense_reports_do_not_crash(end: Any) -> None:
    """Whatever the runner's report holds, there is a verdict."""
    assert judge({"status": exited(1), "end": end}, LIMITS).reason in (Reason.ERROR, Reason.EXIT)


def test_a_forged_error_of_megabytes_is_cut() -> None:
    """What a cell claims of its error costs no more than an honest one."""
    claim = {"ename": "E" * 9999, "evalue": ["v"] * 99999, "traceback": ["t" * 99999] * 999, "kinds": []}
    error = judge({"status": exited(1), "end": {"status": "error", "error": claim}}, LIMITS).error
    assert error is not None
    assert error.evalue == "Error"
    assert len(error.ename) + sum(map(len, error.traceback)) <= (256 << 10) + 256


def test_files_left_behind_are_checked() -> None:
    """What a cell says of its files is kept only where it is a name and a size."""
    left = [["a\x1b[31m.txt", 5], ["b", -1], ["c"], "d", [1, 2], ["e", True]] + [["f", 1]] * 99
    outcome = judge({"status": exited(0), "end": {"status": "ok", "left": left}}, LIMITS)
    assert outcome.left_behind[:3] == (("a.txt", 5), ("b", 0), ("f", 1))
    assert len(outcome.left_behind) <= 20


def test_verdicts_name_limit_peak_and_option() -> None:
    """The line says what was hit, by how much, when, and what raises it."""
    evidence = {"kill": "memory", "peak": 1023 << 20, "detail": {"after_s": 3.1}}
    expected = "memory: 1024 MB limit reached, peak 1023 MB after 3.1 s; --memory 2GB raises it"
    assert judge(evidence, LIMITS).verdict == expected
    assert judge({"status": 9, "end": None}, LIMITS).verdict == "signal: the cell's process was killed by SIGKILL"
    assert "status 0 before the cell's end" in judge({"status": 0, "end": None}, LIMITS).verdict


@pytest.mark.parametrize(
    ("evidence", "named", "advice"),
    [
        ({"status": int(signal.SIGXFSZ), "end": None}, "100 MB for one file", "file_mb=200"),
        ({"status": exited(1), "end": error(errno=27), "full": "disk_mb"}, "100 MB for one file", "file_mb=200"),
        ({"status": exited(1), "end": error(errno=28), "full": "disk_mb"}, "512 MB for all files", "disk_mb=1024"),
        ({"status": exited(1), "end": error(errno=28), "full": "inodes"}, "20000 files", "inodes=40000"),
        ({"status": exited(1), "end": error(errno=28), "full": "shm_mb"}, "64 MB for /dev/shm", "shm_mb=128"),
        ({"kill": "disk", "detail": {"full": "inodes"}}, "20000 files", "inodes=40000"),
    ],
)
def test_disk_verdict_names_the_one_limit(evidence: dict[str, Any], named: str, advice: str) -> None:
    """Of the limits of disk space the one that was hit is named, and what raises it."""
    outcome = judge(evidence, LIMITS)
    assert outcome.reason is Reason.DISK
    assert outcome.verdict.startswith(f"disk: limit of {named}"), outcome.verdict
    assert outcome.verdict.endswith(f"--limit {advice} raises it")


def test_disk_verdict_without_a_trace_guesses_nothing() -> None:
    """Where nothing is full afterwards every limit that it can have been is named."""
    verdict = judge({"status": exited(1), "end": error(errno=28), "full": ""}, LIMITS).verdict
    assert "512 MB for all files together, or limit of 20000 files, or limit of 64 MB for /dev/shm" in verdict


@pytest.mark.parametrize(
    ("evidence", "named"),
    [
        # nobody can tell processes from threads
        ({"end": error("TaskRefused", errno=11)}, "processes: limit of 10 processes and threads reached; BOTH"),
        (
            {"end": error("TaskRefused"), "tasks_refused": 2},
            "10 processes and threads reached, 2 refused; BOTH",
        ),
        ({"end": error(errno=11)}, ""),
        # the launcher answers for each process, and a group counts threads: their counts stand, whatever the cell says
        ({"end": OK, "status": 0, "processes_refused": 3}, "processes: limit of 10 processes reached, 3 refused; BOTH"),
        (
            {"end": OK, "status": 0, "processes_refused": 0, "tasks_refused": 3},
            "tasks: limit of 256 threads reached, 3",
        ),
        (
            {"end": error("TaskRefused"), "processes_refused": 0},
            "tasks: limit of 256 threads reached; --limit tasks=512",
        ),
        (
            {"end": error("TaskRefused"), "processes_refused": 0, "tasks_refused": 0},
            "memory: no room for another thread",
        ),
        ({"end": error(errno=11), "processes_refused": 0, "tasks_refused": 0}, ""),
    ],
)
def test_a_refused_process_or_thread_names_the_limit_and_what_raises_it(evidence: dict[str, Any], named: str) -> None:
    """The limit that refused it is named, in the verdict and as a note of the exception; a blocked socket does not."""
    outcome = judge({"status": exited(1), **evidence}, LIMITS)
    named = named.replace("BOTH", "--limit processes=20 raises it")
    assert named in outcome.verdict
    if not named:
        assert "limit of" not in outcome.verdict
    if outcome.error is not None:
        assert named in "".join(outcome.error.traceback)
        assert bool(named) == bool(outcome.error.traceback)


@pytest.mark.parametrize(
    ("evalue", "peak", "says", "advises"),
    [
        ("Unable to allocate 2.00 GiB for an array with shape (268435456,)", 10, "asked for 2048 MB at once", "2560MB"),
        ("Unable to allocate 512. MiB for an array", 700, "asked for 512 MB at once", "1536MB"),
        ("", 10, "asked for more than 1014 MB at once", "2GB or more"),
        ("", 1000, "1024 MB limit reached (MemoryError)", "2GB"),
    ],
)
def test_a_request_that_was_too_large_is_told_as_such(evalue: str, peak: int, says: str, advises: str) -> None:
    """Memory asked for at once leaves no peak: the verdict names the request, and advises what would meet it."""
    end = error("MemoryError")
    end["error"]["evalue"] = evalue
    verdict = judge({"status": exited(1), "end": end, "peak": peak << 20}, LIMITS).verdict
    assert says in verdict
    assert f"peak {peak} MB" in verdict
    assert verdict.endswith(f"--memory {advises} raises it")


@pytest.mark.parametrize("queue", list(DEFAULT_LIMITS))
@pytest.mark.parametrize("asked", [{}, {"timeout": 10}, {"timeout": 200}, {"timeout": 400}, {"limits": {"cpu_s": 7}}])
def test_the_advice_for_more_processor_time_works(queue: str, asked: dict[str, Any]) -> None:
    """Whoever follows the advice gets more processor seconds than before."""
    options = {"timeout": None, "hard_timeout": None, "memory_mb": None, "limits": None, **asked}
    before = Limits(**{**DEFAULT_LIMITS[queue].as_dict(), **asked_limits(queue, **options)})
    verdict = judge({"kill": "cpu"}, before).verdict
    option, _, value = verdict.rpartition("; ")[2].removesuffix(" raises it").partition(" ")
    if option == "--timeout":
        options["timeout"] = float(value)
    else:
        (number,) = re.findall(r"cpu_s=([0-9.]+)", value)
        options["limits"] = {**(options["limits"] or {}), "cpu_s": float(number)}
    after = Limits(**{**DEFAULT_LIMITS[queue].as_dict(), **asked_limits(queue, **options)})
    assert after.cpu_s > before.cpu_s, verdict


def test_broken() -> None:
    """A run whose launcher is gone is internal and says why."""
    outcome = broken("the launcher died", LIMITS)
    assert outcome.reason is Reason.INTERNAL
    assert "the launcher died" in outcome.verdict
