"""A live cluster, and a shell with the extension loaded."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell
from live_cluster import LiveCluster
from support import private_server


@pytest.fixture(scope="session")
def cluster() -> Iterator[LiveCluster]:
    """Shared by all tests of the magics."""
    directory = Path(tempfile.mkdtemp(prefix="cx-"))
    cluster = LiveCluster(directory, private_server(directory))
    try:
        cluster.start_worker()
        yield cluster
    finally:
        cluster.close()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def shell(cluster: LiveCluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[InteractiveShell]:
    """Plain IPython with the magics, in an empty folder."""
    for name, value in cluster.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    cluster.client.purge_dead_letters()
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance()
    shell.run_line_magic("colors", "nocolor")
    shell.run_line_magic("load_ext", "codeexec_magic")
    yield shell
    shell.run_line_magic("unload_ext", "codeexec_magic")
    shell.history_manager.end_session()
    InteractiveShell.clear_instance()
