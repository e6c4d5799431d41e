"""Another interpreter for the cells: another Python version that has IPython but none of our packages."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from codeexec_magic.contract import stream_text
from codeexec_magic.limits import Limits
from worker.sandbox import Cell, Sandbox

pytestmark = pytest.mark.abuse

MUST_WORK = sorted((Path(__file__).parent / "abuse").glob("1[34]*_ok_*.py"))
LIMITS = Limits(soft_s=40.0, hard_s=45.0)


@pytest.fixture(scope="module")
def other() -> Iterator[Sandbox]:
    """A sandbox on the interpreter that CODEEXEC_OTHER_PYTHON names."""
    python = os.environ.get("CODEEXEC_OTHER_PYTHON")
    if not python:
        if os.environ.get("CI"):
            pytest.fail("CODEEXEC_OTHER_PYTHON must name an interpreter of another version with IPython and numpy")
        pytest.skip("CODEEXEC_OTHER_PYTHON names no interpreter")
    ours = subprocess.run([python, "-I", "-c", "import codeexec_magic"], capture_output=True, check=False)
    assert ours.returncode != 0, "the other interpreter must not have our packages"
    with Sandbox(slots=1, python=python) as sandbox:
        yield sandbox


@pytest.mark.parametrize("path", MUST_WORK, ids=lambda path: path.stem)
def test_must_work(path: Path, other: Sandbox) -> None:
    """Legitimate code works there as it does here."""
    events: list[dict[str, Any]] = []
    outcome = other.run(Cell("other", path.read_text(), LIMITS)).wait(events.append)
    assert outcome.success, (outcome, events)


def test_it_is_the_other_one(other: Sandbox) -> None:
    """Cells see the other interpreter's version, which the report names."""
    events: list[dict[str, Any]] = []
    other.run(Cell("other", "import platform\nprint(platform.python_version())", LIMITS)).wait(events.append)
    assert stream_text(events, "stdout").strip() == other.report["python"]
    if os.environ.get("CI") and os.getuid() == 0:  # an ordinary user may have but the system's
        assert other.report["python"] != platform.python_version(), "CODEEXEC_OTHER_PYTHON names the same version"


def test_cases_are_there() -> None:
    """The must-work cases were found."""
    assert len(MUST_WORK) == 9
