"""Libraries that start threads or processes for each processor give right results within the default limits."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import missing

from codeexec_magic.contract import stream_text
from codeexec_magic.limits import Limits
from worker.sandbox import Cell, Sandbox

pytestmark = [pytest.mark.libraries, pytest.mark.timeout(360)]

#: the usual limits but for time, which is no question here
LIMITS = Limits(soft_s=280.0, hard_s=300.0, cpu_s=300)

CELLS = sorted((Path(__file__).parent / "libraries").glob("*.py"))
PRINTS = "# prints: "


@pytest.fixture(scope="module")
def python() -> str:
    """The interpreter that CODEEXEC_LIBRARIES_PYTHON names; it has the libraries."""
    python = os.environ.get("CODEEXEC_LIBRARIES_PYTHON", "")
    if not python:
        missing("CODEEXEC_LIBRARIES_PYTHON, an interpreter with the libraries,")
    return python


@pytest.fixture(scope="module", params=[2, 1], ids=["level 2", "level 1"])
def sandbox(request: pytest.FixtureRequest, python: str) -> Iterator[Sandbox]:
    """With namespaces, and without."""
    with Sandbox(slots=1, python=python, required_isolation=0, level=request.param) as one:
        assert one.report["level"] == request.param
        yield one


@pytest.mark.parametrize("path", CELLS, ids=lambda path: path.stem)
def test_the_result_is_right(path: Path, sandbox: Sandbox) -> None:
    """What the first line says is printed, and no complaint.

    Without namespaces a cell has no semaphores in /dev/shm: libraries that want one say that they do without.
    """
    events: list[dict[str, Any]] = []
    outcome = sandbox.run(Cell("libraries", path.read_text(), LIMITS)).wait(events.append)
    stderr = stream_text(events, "stderr")
    assert outcome.success, (outcome.verdict, outcome.error, stderr)
    assert stream_text(events, "stdout") == path.read_text().partition("\n")[0].removeprefix(PRINTS) + "\n"
    if sandbox.report["level"] == 2:
        assert stderr == ""


def test_cells_are_there() -> None:
    """Each says what it prints."""
    assert len(CELLS) == 11
    assert all(path.read_text().startswith(PRINTS) for path in CELLS)
