"""How a standby comes to be ready, in whatever order its processes are heard of."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support import wait_until

from codeexec_magic.limits import Limits
from worker.sandbox.launcher.event_loop import Loop
from worker.sandbox.launcher.plain_tree import PlainTree
from worker.sandbox.launcher.pool import StandbyPool
from worker.sandbox.launcher.process_tree import Host, ProcessTree, Spec, State
from worker.sandbox.linux import processes
from worker.sandbox.protocol import messages
from worker.sandbox.protocol.weakening import Weakening
from worker.sandbox.run_handle import wire_limits

LIMITS = wire_limits(Limits())
CONFIG = messages.LauncherConfig(sys.executable, 1, (), False, LIMITS, 1, False, False, Weakening())


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
    host = Host(None, own_uid=False, slots=1, fast_fork=False, supervised=False)
    tree = PlainTree(1, 0, Spec(LIMITS, standbys.tasks(LIMITS)), host)
    tree.state = State.PREPARING
    with subprocess.Popen(["/bin/sh", "-c", "sleep 60 & wait"]) as parent:
        wait_until(lambda: processes.descendants(parent.pid))
        tree.init_pid = parent.pid
        tree._control_far.send(messages.encode(messages.CellForked()))
        if first == "parent":
            standbys._on_parent(tree)
            assert owner.ready == []
        tree.guards = {"uid": 0}
        if first == "cell":
            standbys._check_ready(tree)
            assert owner.ready == []
            standbys._on_parent(tree)
        else:
            standbys._check_ready(tree)
        assert owner.ready == [tree]
        for pid in processes.descendants(parent.pid):
            subprocess.run(["/bin/kill", "-9", str(pid)], check=False)
        parent.kill()
    tree.close()
