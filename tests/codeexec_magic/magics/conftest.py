"""A shell with the extension loaded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell
from live_cluster import LiveCluster


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
