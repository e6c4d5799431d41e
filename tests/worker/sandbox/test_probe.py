"""The probe names every guard that is not there, and says what it could not prove."""

from __future__ import annotations

import os
from typing import Any

import pytest
from weakened import without

from codeexec_magic.contract import Reason
from codeexec_magic.limits import Limits
from worker.sandbox import Outcome, Sandbox, probe

#: what must be named when one guard is off, at level 2 and at level 1
WEAKENED = {
    (2, "seccomp"): {"namespaces"},
    (2, "landlock"): {"proc"},
    (2, "netns"): {"tcp"},
    (2, "memory"): {"memory"},
    (2, "fds"): {"fds"},
    (2, "env"): {"env"},
    (1, "seccomp"): {"unix"},
    (1, "landlock"): {"file", "write", "proc", "signal"},
    (1, "memory"): {"memory"},
    (1, "fds"): {"fds"},
    (1, "env"): {"env"},
}
#: what no kernel or container need have: without it there is nothing to refuse
_OPTIONAL = {"namespaces", "vsock"}


@pytest.mark.parametrize("level", [2, 1])
def test_every_check_has_a_control_that_works(level: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a cell is refused works outside, so that the refusal proves something; no hole is seen."""
    monkeypatch.setenv("PROBE_CANARY", "1")
    with Sandbox(slots=1, preload=(), level=level, required_isolation=level) as sandbox:
        checks = sandbox.report["checks"]
    assert set(checks) == set(probe._GUARDS)
    assert {name for name, result in checks.items() if not result["control"]} <= _OPTIONAL
    assert probe.failed(checks) == []


@pytest.mark.parametrize(("level", "guard"), WEAKENED)
def test_a_guard_switched_off_is_named(level: int, guard: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one guard off, all others on, the probe names it and leaves no level."""
    monkeypatch.setenv("PROBE_CANARY", "1")
    with Sandbox(slots=1, preload=(), level=level, required_isolation=0, weakening=without(guard)) as sandbox:
        report = sandbox.report
    holes = {name for name, result in report["checks"].items() if not result["refused"]}
    unprivileged = {"signal"} if level == 1 and os.getuid() == 0 else set()
    assert holes >= WEAKENED[level, guard] - unprivileged, report
    assert report["level"] == 0
    for name in holes:
        assert any(item.startswith(f"guard {name} (") for item in report["missing"]), report


def test_what_cannot_be_tried_is_no_pass_and_no_hole() -> None:
    """A refusal of what does not work outside either is said in words; one that was not seen is a hole all the same."""
    checks = {
        "vsock": {"control": False, "refused": True},
        "tcp": {"control": False, "refused": False},
        "env": {"control": True, "refused": True},
    }
    assert [text.split(" (")[0] for text in probe.failed(checks)] == ["guard tcp"]
    (text,) = probe.unproven(checks)
    assert text.startswith("guard vsock (seccomp): not provable here")
    assert text in probe.explain({"level": 2, "missing": [], "checks": checks})


def test_a_cell_that_does_not_answer_leaves_nothing_proven() -> None:
    """Garbage instead of the cell's answers counts as not refused."""

    def run(_code: str, limits: Limits) -> tuple[list[dict[str, Any]], Outcome]:
        return [{"type": "stream", "name": "stdout", "text": "[]"}], Outcome(Reason.OK, success=True)

    assert len(probe.failed(probe.check(run))) == len(probe._GUARDS)


def test_a_worker_that_a_notebook_starts_keeps_its_level(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel has variables that every cell gets as well: they did not come through."""
    for name in ("CLICOLOR", "CLICOLOR_FORCE", "FORCE_COLOR", "GIT_PAGER", "PAGER", "MPLBACKEND", "TERM"):
        monkeypatch.setenv(name, "kernel")
    with Sandbox(preload=()) as sandbox:
        assert sandbox.report["level"] >= 1, sandbox.report
