"""The verdict follows the evidence, in the order that matters."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from codeexec_magic.contract import Limits, Reason
from worker.sandbox.outcome import broken, judge

LIMITS = Limits(memory_mb=1024, cpu_s=10)
OK = {"status": "ok", "values": {"a": 1}}


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
        [],
        "ok",
        {},
        {"status": "ok", "values": 3},
        {"status": "error", "error": 7},
        {"status": "error", "error": {"kinds": 1, "traceback": {"a": 1}, "ename": [], "evalue": {}}},
        {"status": "nonsense", "code": "x"},
        {"status": "exit", "code": -5},
    ],
)
def test_nonsense_reports_do_not_crash(end: Any) -> None:
    """Whatever the runner's report holds, there is a verdict."""
    assert judge({"status": exited(1), "end": end}, LIMITS).reason in (Reason.ERROR, Reason.EXIT)


def test_values_only_with_success() -> None:
    """A failed run returns no values."""
    assert judge({"status": exited(0), "end": OK}, LIMITS).values == {"a": 1}
    assert judge({"status": exited(2), "end": OK}, LIMITS).values == {}


def test_verdicts_name_limit_peak_and_option() -> None:
    """The line says what was hit, by how much, when, and what raises it."""
    evidence = {"kill": "memory", "peak": 1023 << 20, "detail": {"after_s": 3.1}}
    expected = "memory: 1024 MB limit reached, peak 1023 MB after 3.1 s; --memory 2GB raises it"
    assert judge(evidence, LIMITS).verdict == expected
    assert judge({"status": 9, "end": None}, LIMITS).verdict == "signal: the cell's process was killed by SIGKILL"
    assert "status 0 before the cell's end" in judge({"status": 0, "end": None}, LIMITS).verdict


def test_broken() -> None:
    """A run whose launcher is gone is internal and says why."""
    outcome = broken("the launcher died", LIMITS)
    assert outcome.reason is Reason.INTERNAL
    assert "the launcher died" in outcome.verdict
