"""The thread that moves processes into control groups."""

from __future__ import annotations

import subprocess
import time

import pytest

from worker.sandbox import cgroup
from worker.sandbox.loop import Loop
from worker.sandbox.porter import Porter


def test_a_process_is_moved_and_one_that_is_gone_is_told() -> None:
    """The loop hears of each, in order: nothing of the one that arrived, what went wrong with the other."""
    groups, why = cgroup.find()
    if groups is None:
        pytest.skip(why)
    loop, told = Loop(), []
    porter, group = Porter(loop), groups.group("test-porter")
    process = subprocess.Popen(["/bin/sleep", "60"])
    try:
        porter.move(process.pid, group, lambda problem: told.append((problem, group.processes())))
        porter.move(2**22 + 1, group, lambda problem: told.append((problem, group.processes())))
        end = time.monotonic() + 10
        while len(told) < 2 and time.monotonic() < end:
            loop.turn(end)
    finally:
        process.kill()
        process.wait()
        group.remove()
    (good, inside), (bad, _) = told
    assert good == ""
    assert inside == [process.pid]
    assert "control group" in bad
