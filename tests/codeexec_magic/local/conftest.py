"""Fixtures of the tests of the embedded cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support import missing, processes_mentioning, wait_until

from codeexec_magic import local
from codeexec_magic.errors import ServerNotFound
from codeexec_magic.local import server
from codeexec_magic.local.directory import ClusterDirectory


@pytest.fixture
def home(short_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ClusterDirectory]:
    """A cluster folder of the test's own; afterwards nothing of the cluster may be left."""
    try:
        server.find_binary()
    except ServerNotFound:
        missing("a server binary")
    monkeypatch.setenv("CODEEXEC_HOME", str(short_tmp / "c"))
    monkeypatch.setenv("CODEEXEC_PRELOAD", "json")
    for name in ("CELERY_BROKER_URL", "CELERY_RESULT_BACKEND"):
        monkeypatch.delenv(name, raising=False)
    yield ClusterDirectory.locate()
    monkeypatch.setenv("CODEEXEC_HOME", str(short_tmp / "c"))
    local.stop()
    wait_until(lambda: not processes_mentioning(str(short_tmp / "c")), 60, "the end of the cluster's processes")
