"""CPython's own tests inside a cell: whatever fails there is what isolation forbids, and listed with its reason."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

import pytest
from support import missing

from codeexec_magic.contract import stream_text
from codeexec_magic.limits import Limits
from worker.sandbox import Cell, Sandbox

pytestmark = [pytest.mark.abuse, pytest.mark.timeout(400)]

CODE: Final = Path(__file__).with_name("cpython_cell.py").read_text()
LIMITS: Final = Limits(soft_s=300.0, hard_s=320.0, cpu_s=320.0)
#: modules, with patterns of the parts that are run of slow ones, and how many tests must have run
MODULES: Final[dict[str, tuple[tuple[str, ...], int]]] = {
    "test_json": ((), 150),
    "test_re": ((), 140),
    "test_asyncio": (("*test_runners*", "*test_queues*", "*test_locks*", "*test_taskgroups*"), 150),
    "test_subprocess": ((), 280),
    "test_tempfile": ((), 90),
    "test_signal": ((), 45),
    "test_threading": ((), 150),
    "test_multiprocessing_main_handling": (("*SpawnCmdLineTest*",), 10),
    "test_sqlite3": ((), 300),
    "test_zoneinfo": ((), 180),
    "test_os": ((), 280),
    "test_shutil": ((), 140),
}
#: tests that may fail in a cell, and why
FORBIDDEN: Final = {
    "TestArchives.test_make_archive_owner_group": "group 0 has no name: a cell sees no groups of the host",
    "TestArchives.test_tarfile_root_owner": "group 0 has no name: a cell sees no groups of the host",
    "FDInheritanceTests.test_openpty": "there are no pseudo-terminals",
    "POSIXProcessTestCase.test_user": "a cell has one user and cannot become another",
    "POSIXProcessTestCase.test_group": "a cell has one group and cannot become another",
    "POSIXProcessTestCase.test_extra_groups": "a cell has one group and cannot become another",
    "*TZDataTests.*": "depends on the release of the machine's time zone data, in a cell and outside",
}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """One that allows cells of minutes."""
    if importlib.util.find_spec("test.libregrtest") is None:
        missing("the test package of this interpreter")
    with Sandbox(slots=1, preload=(), ceiling=LIMITS) as one:
        yield one


@pytest.mark.parametrize("module", MODULES)
def test_only_what_isolation_forbids_fails(sandbox: Sandbox, module: str) -> None:
    """The module's tests ran, and each that failed is listed."""
    if sandbox.report["level"] < 2 or os.getuid():
        pytest.skip("compares with the full isolation that root gets")
    patterns, least = MODULES[module]
    arguments = [module, *(word for pattern in patterns for word in ("-m", pattern))]
    events: list[dict[str, Any]] = []
    outcome = sandbox.run(Cell("cpython", f"ARGUMENTS = {arguments!r}\n{CODE}", LIMITS)).wait(events.append)
    assert outcome.success, (outcome, events)
    report = json.loads(stream_text(events, "stdout").splitlines()[-1])
    assert report["ran"] >= least, report
    unlisted = [name for name in report["failed"] if not any(fnmatchcase(name, known) for known in FORBIDDEN)]
    assert unlisted == [], report["end"]
    assert report["failed"] or report["status"] == 0, report["end"]
