"""One process tree, as the launcher sees it."""

from __future__ import annotations

import os

import pytest

from codeexec_magic.contract import Limits
from worker.sandbox import cgroup
from worker.sandbox.box import Box


def test_a_cell_outside_its_control_group_is_not_ready() -> None:
    """The cell enters its group itself; that it did is what the kernel says, not what the cell says."""
    groups, why = cgroup.find()
    if groups is None:
        pytest.skip(why)
    limits = {**Limits().as_dict(), "tasks": 10}
    box = Box(1, 0, {"limits": limits, "network": False, "level": 2})
    try:
        box.prepare(groups.group("test-box"))
        box.cell_pid = os.getpid()
        with pytest.raises(OSError, match="did not enter"):
            box.ready({})
        assert box.state != "ready"
    finally:
        box.close()
