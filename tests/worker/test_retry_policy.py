"""What follows from the way an attempt ended."""

from __future__ import annotations

from dataclasses import replace

import pytest

from codeexec_magic.contract import DEFAULT_LIMITS, ExecutionRequest, Reason, Status
from codeexec_magic.errors import LimitTooHigh
from codeexec_magic.limits import Limits
from worker.attempt import grant
from worker.retry_policy import decide

REQUEST = ExecutionRequest("t", "1")


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        (Reason.OK, Status.SUCCEEDED),
        (Reason.ERROR, Status.FAILED),
        (Reason.EXIT, Status.FAILED),
        (Reason.DISK, Status.FAILED),
        (Reason.OUTPUT, Status.FAILED),
        (Reason.SIGNAL, Status.FAILED),
        (Reason.CANCELLED, Status.CANCELLED),
    ],
)
def test_what_running_again_cannot_help_ends_at_once(reason: Reason, status: Status) -> None:
    """Success, the cell's own faults and the user's word are final."""
    decision = decide(REQUEST, reason, 0)
    assert (decision.action, decision.status, decision.dead) == ("end", status, False)


@pytest.mark.parametrize("reason", [Reason.TIMEOUT, Reason.CPU, Reason.MEMORY, Reason.INTERNAL])
def test_retries_wait_5_25_125_seconds_then_dead_letter(reason: Reason) -> None:
    """Four runs at most, with a fifth of jitter around each wait."""
    for failures, wait in enumerate((5, 25, 125)):
        decision = decide(REQUEST, reason, failures)
        assert (decision.action, decision.charge) == ("retry", "failures")
        assert 0.8 * wait <= decision.delay_s <= 1.2 * wait
    assert decide(REQUEST, reason, 3).dead


def test_jitter_spreads() -> None:
    """Jobs that failed together do not come back together."""
    assert len({decide(REQUEST, Reason.TIMEOUT, 0).delay_s for _ in range(20)}) > 1


def test_retries_and_waits_are_per_job() -> None:
    """``--retries 0`` gives up after the first run; the last wait repeats."""
    assert decide(replace(REQUEST, retries=0), Reason.MEMORY, 0).dead
    patient = replace(REQUEST, retries=9, retry_waits_s=(1.0, 2.0))
    assert 1.6 <= decide(patient, Reason.TIMEOUT, 7).delay_s <= 2.4


def test_a_request_is_never_granted_more_than_the_ceiling() -> None:
    """Defaults are cut down to the ceiling; what was asked for by name is refused instead."""
    low = replace(Limits(), memory_mb=512, soft_s=10, hard_s=20)
    assert grant(REQUEST, low).memory_mb == 512
    assert grant(REQUEST, low).soft_s <= grant(REQUEST, low).hard_s == 20
    asked = replace(REQUEST, limits=replace(DEFAULT_LIMITS["code_execution"], memory_mb=600))
    with pytest.raises(LimitTooHigh, match=r"memory_mb=600.*512"):
        grant(asked, low)
    assert grant(replace(REQUEST, limits=replace(Limits(), memory_mb=100)), low).memory_mb == 100
    several = replace(REQUEST, limits=replace(Limits(), memory_mb=600, disk_mb=1000))
    with pytest.raises(LimitTooHigh, match=r"memory_mb=600.*512.*disk_mb=1000"):
        grant(several, replace(low, disk_mb=400))
