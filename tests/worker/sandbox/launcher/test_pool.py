"""How a standby comes to be ready, in whatever order its processes are heard of."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support import wait_until

from worker.sandbox.launcher.event_loop import Loop
from worker.sandbox.launcher.pool import StandbyPool
from worker.sandbox.launcher.process_tree import ProcessTree
from worker.sandbox.linux import processes

CONFIG: dict[str, Any] = {"cgroup": False, "guards_off": [], "python": sys.executable, "slots": 1, "limits": {}}


class Owner:
    """Notes which trees are ready."""

    def __init__(self) -> None:
        self.ready: list[ProcessTree] = []

    def on_ready(self, tree: ProcessTree) -> None:
        """As the launcher is told."""
        self.ready.append(tree)


@pytest.mark.parametrize("first", ["cell", "parent"])
def test_ready_is_found_whoever_is_heard_first(first: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without namespaces the cell may say that it is ready before its parent says that there is a cell."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    owner = Owner()
    standbys = StandbyPool(CONFIG, Loop(), owner)  # type: ignore[arg-type]
    tree = ProcessTree(1, 0, {"limits": {}, "network": False, "standby": True, "level": 1, "supervised": False})
    tree.state = "preparing"
    with subprocess.Popen(["/bin/sh", "-c", "sleep 60 & wait"]) as parent:
        wait_until(lambda: processes.descendants(parent.pid))
        tree.init_pid = parent.pid
        assert tree._control_far is not None
        tree._control_far.send(b'{"op":"forked"}')
        if first == "parent":
            standbys._on_init(tree)
            assert owner.ready == []
        tree.guards = {"uid": 0}
        if first == "cell":
            standbys._check_ready(tree)
            assert owner.ready == []
            standbys._on_init(tree)
        else:
            standbys._check_ready(tree)
        assert owner.ready == [tree]
        for pid in processes.descendants(parent.pid):
            subprocess.run(["/bin/kill", "-9", str(pid)], check=False)
        parent.kill()
    tree.close()
