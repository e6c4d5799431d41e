"""Sandboxes on this machine: one process serves the calls of this one, each in a fresh sandbox."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from support import wait_until

from codeexec_magic import CodeTools, local_sandbox
from codeexec_magic.errors import SandboxBroken


@pytest.fixture(autouse=True)
def _ended() -> Iterator[None]:
    """No sandbox is kept from one test to the next."""
    local_sandbox.close()
    yield
    local_sandbox.close()


def kept() -> local_sandbox.LocalSandbox:
    """The sandbox that the next call would use."""
    assert local_sandbox._kept is not None
    return local_sandbox._kept


def kept_pid() -> int:
    """Of its process."""
    return kept()._process.pid


def test_one_process_serves_all_calls_and_each_gets_a_fresh_sandbox() -> None:
    """The second call pays no start, and sees nothing of the first one."""
    first = CodeTools.execute_code("kept = 1\nopen('kept', 'w').close()\nkept + 1", async_mode=False)
    pid = kept_pid()
    second = CodeTools.execute_code("import os\n'kept' in dir(), os.listdir()", async_mode=False, timeout=7)
    assert first["success"]
    assert kept_pid() == pid
    assert second["outputs"][0]["data"]["text/plain"] == "(False, [])"
    assert (second["limits"]["soft_s"], second["limits"]["hard_s"]) == (7, 37)


def test_a_limit_ends_the_cell_and_leaves_the_sandbox_usable() -> None:
    """The limit is that of the call."""
    slow = CodeTools.execute_code("import time\ntime.sleep(60)", async_mode=False, timeout=0.5)
    assert slow["reason"] == "timeout"
    assert CodeTools.execute_code("1", async_mode=False)["success"]


def test_a_sandbox_that_died_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """So is one that was made under other settings."""
    local_sandbox.run("1", 30, 60)
    dead = kept_pid()
    os.kill(dead, signal.SIGKILL)
    wait_until(lambda: not kept().usable, 30, "the end of the process")
    assert local_sandbox.run("2", 30, 60).value == 2
    old = kept_pid()
    assert old != dead
    monkeypatch.setenv("CODEEXEC_PRELOAD", "json")
    assert local_sandbox.run("3", 30, 60).value == 3
    assert kept_pid() != old


def test_a_setting_that_makes_no_sense_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that could not start says why."""
    monkeypatch.setenv("CODEEXEC_REQUIRED_ISOLATION", "nine")
    with pytest.raises(SandboxBroken, match="CODEEXEC_REQUIRED_ISOLATION"):
        local_sandbox.run("1", 30, 60)
    assert local_sandbox._kept is None
