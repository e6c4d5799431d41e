"""Zygote and namespace server by themselves: what they answer to each message, without a launcher."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import missing, wait_until

from codeexec_magic.limits import Limits
from worker.sandbox.launcher.namespaced_tree import NamespacedTree
from worker.sandbox.launcher.plain_tree import PlainTree
from worker.sandbox.launcher.process_tree import Host, ProcessTree, Spec, State
from worker.sandbox.launcher.zygote_client import ZygoteClient, ZygoteFailed
from worker.sandbox.linux.launcher_id import mark
from worker.sandbox.protocol import messages
from worker.sandbox.protocol.weakening import Weakening
from worker.sandbox.run_handle import wire_limits

LIMITS = wire_limits(Limits())
HOST = Host(None, own_uid=False, slots=1, fast_fork=False, supervised=False)


@contextlib.contextmanager
def started(
    level: int, *, fast_fork: bool = False, preload: tuple[str, ...] = ()
) -> Iterator[tuple[ZygoteClient, messages.ZygoteReady]]:
    """A zygote, and what it says of itself."""
    client = ZygoteClient(sys.executable)
    try:
        ready = client.start(messages.ZygoteConfig(preload, False, level, mark(), fast_fork, Weakening()))
        if ready.level < level:
            missing(f"isolation level {level}")
        yield client, ready
    finally:
        client.close()


@pytest.fixture(scope="module")
def namespaced() -> Iterator[ZygoteClient]:
    """A zygote in namespaces."""
    with started(2) as (client, _):
        yield client


def answer(client: ZygoteClient, sock: socket.socket | None = None) -> tuple[messages.Message | None, list[int]]:
    """The next message, within a deadline."""
    sock = sock or client.sockets[0]
    assert select.select([sock], [], [], 30)[0], "no answer"
    return client.receive(sock)


def first_word(tree: ProcessTree) -> messages.Message:
    """What a standby says of itself."""
    return wait_until(tree.first_message, 30, "the standby's message")


def spawn_namespaced(client: ZygoteClient, number: int) -> NamespacedTree:
    """A standby in namespaces of its own."""
    tree = NamespacedTree(number, 1, Spec(LIMITS, NamespacedTree.tasks(LIMITS, HOST)), HOST)
    tree.order_namespaces(client)
    built, fds = answer(client, client.namespace_server)
    assert built == messages.NamespacesBuilt(number)
    assert len(fds) == 5  # process 1, two namespaces, two file systems
    tree.spawned(fds)
    tree.order_cell(client)
    forked, (pid_fd,) = answer(client)
    assert forked == messages.Forked(number)
    tree.forked(pid_fd)
    return tree


def test_a_cell_from_namespaces_to_its_end(namespaced: ZygoteClient) -> None:
    """Namespaces, cell, guards, code, report and wait status, each in a message of its own."""
    tree = spawn_namespaced(namespaced, 1)
    ready = first_word(tree)
    assert isinstance(ready, messages.CellReady)
    assert ready.guards["seccomp"] is True
    tree.hand_over(messages.CellCode("x = 1 + 1", (), (), (), LIMITS, 64, "token"), [])
    assert first_word(tree) == messages.EndReport("token", "ok", 0, None, [])
    ended, _ = answer(namespaced)
    assert isinstance(ended, messages.CellEnded)
    assert (ended.number, ended.status) == (1, 0)
    assert ended.peak > 1 << 20
    tree.kill()
    assert select.select([tree.pid_fd], [], [], 30)[0]
    tree.close()


def test_a_standby_without_code_goes_away(namespaced: ZygoteClient) -> None:
    """When the launcher closes the code pipe, the standby exits, and its status is 0."""
    tree = spawn_namespaced(namespaced, 2)
    first_word(tree)
    tree.discard_code()
    ended, _ = answer(namespaced)
    assert isinstance(ended, messages.CellEnded)
    assert (ended.number, ended.status) == (2, 0)
    tree.kill()
    tree.close()


def test_namespaces_that_cannot_be_built_are_refused(namespaced: ZygoteClient) -> None:
    """The namespace server says why, and goes on."""
    namespaced.order_namespaces(messages.BuildNamespaces(3, 1001, -1, 10, 1))
    refused, fds = answer(namespaced, namespaced.namespace_server)
    assert isinstance(refused, messages.Refused)
    assert refused.number == 3
    assert refused.text
    assert fds == []
    tree = spawn_namespaced(namespaced, 4)
    assert isinstance(first_word(tree), messages.CellReady)
    tree.discard_code()
    answer(namespaced)
    tree.kill()
    tree.close()


def test_lost_descriptors_are_refused(namespaced: ZygoteClient) -> None:
    """An order whose descriptors were dropped on the way forks nothing."""
    namespaced.order(messages.ForkCell(5, 1001, network=False, home="", unseen_memory=False, supervised=False), [])
    refused, _ = answer(namespaced)
    assert isinstance(refused, messages.Refused)
    assert "descriptors were lost" in refused.text


def test_a_cell_without_namespaces_has_a_parent() -> None:
    """The parent forks the cell only when it is told to proceed, and reports the end of the cell itself."""
    with started(1) as (client, ready):
        assert ready.missing[0] == "namespaces are switched off"
        tree = PlainTree(1, 0, Spec(LIMITS, PlainTree.tasks(LIMITS, HOST)), HOST)
        tree.order_cell(client)
        forked, fds = answer(client)
        assert forked == messages.Forked(1)
        assert tree.first_message() is None
        tree.spawned(fds)
        assert isinstance(first_word(tree), messages.CellReady)
        wait_until(lambda: tree.read_control() and tree.cell_pid > 0)
        tree.hand_over(messages.CellCode("import sys; sys.exit(3)", (), (), (), LIMITS, 1 << 16, "token"), [])
        wait_until(lambda: tree.read_control() and tree.status is not None)
        assert tree.status is not None
        assert os.waitstatus_to_exitcode(tree.status) == 3
        home = Path(tree.home)
        assert home.is_dir()
        tree.kill()
        assert tree.state is State.ENDING
        assert select.select([tree.pid_fd], [], [], 30)[0]
        tree.close()
        assert not home.exists()


def test_the_end_of_the_launcher_ends_everything() -> None:
    """Zygote and namespace server go when their sockets close."""
    with started(2) as (client, _):
        tree = spawn_namespaced(client, 1)
        assert tree.cell_pid > 0
        for sock in client.sockets:
            sock.close()
        assert select.select([tree.pid_fd], [], [], 30)[0]
        tree.close()


@pytest.mark.parametrize("level", [2, 1])
def test_the_switch_leaves_the_fork_tuning_out(level: int) -> None:
    """Off: the zygote says so and has no trace of it. On: it says what is in use."""
    with started(level) as (_, ready):
        assert ready.fast_fork == "off"
        assert traces() == []
    with started(level, fast_fork=True) as (_, ready):
        assert ready.fast_fork != "off"
        if ready.fast_fork == "on":
            assert traces() == ["heap file", "ring"]


def traces() -> list[str]:
    """What the fork tuning leaves in the zygotes of this process."""
    found = set()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or mark() not in _read(folder / "cmdline"):
            continue
        if "/memfd:zygote" in _read(folder / "maps"):
            found.add("heap file")
        with contextlib.suppress(OSError):
            if any("io_uring" in str(fd.readlink()) for fd in (folder / "fd").iterdir()):
                found.add("ring")
    return sorted(found)


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def test_an_interpreter_that_cannot_start_is_named() -> None:
    """What it said last is part of the error."""
    client = ZygoteClient("/bin/false")
    with pytest.raises(ZygoteFailed, match="the interpreter /bin/false did not start"):
        client.start(messages.ZygoteConfig((), False, 1, mark(), False, Weakening()))
    client.close()


def test_a_preloaded_module_that_is_not_installed_is_passed_over() -> None:
    """Nobody misses it; the others are there."""
    with started(1, preload=("no_such_module_at_all", "fractions")) as (_, ready):
        assert ready.preloaded == ("fractions",)
        assert not any("no_such_module_at_all" in why for why in ready.missing)
