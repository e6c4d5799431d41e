"""The process trees of one launcher: how many stand by, how each becomes ready, and how it ends."""

from __future__ import annotations

import os
import socket
import time
from functools import partial
from typing import Any, Final, NamedTuple, NoReturn, Protocol

from ..linux import cgroup
from ..linux.launcher_id import mark
from ..protocol import messages
from . import uid_map
from .event_loop import Loop, readable
from .isolation_report import isolation_report
from .namespaced_tree import NamespacedTree
from .plain_tree import PlainTree
from .process_tree import STANDBY, Host, ProcessTree, Spec, State, TaskLimits
from .zygote_client import ZygoteClient

#: attempts to make a standby before what waits for one is told
TRIES: Final = 3
#: how long the kernel may take to end everything (seconds)
_END_S: Final = 5.0


_OF_A_TREE: Final = (messages.NamespacesBuilt, messages.Forked, messages.CellEnded, messages.Refused)


class Owner(Protocol):
    """Who uses the trees and is told of them."""

    def on_ready(self, tree: ProcessTree) -> None:
        """It has its guards on and waits for code."""

    def on_failed(self, tree: ProcessTree) -> None:
        """It broke before it was used."""

    def on_hopeless(self, why: str) -> None:
        """Too many broke in a row; no more are made unasked."""

    def on_broken(self, tree: ProcessTree) -> None:
        """It broke while it was used."""

    def on_cell_end(self, tree: ProcessTree) -> None:
        """The cell's process of a used one has ended."""

    def on_gone(self, tree: ProcessTree) -> bool:
        """All of it is dead; says whether it had been used."""

    def on_free(self) -> None:
        """There is room for another."""

    def on_lost(self) -> NoReturn:
        """The zygote is dead: there will be no more trees."""


class Started(NamedTuple):
    """What the launcher tells the worker of a zygote that runs."""

    report: dict[str, Any]  #: the isolation there is
    environment: str  #: fingerprint of interpreter and libraries


class StandbyPool:
    """Orders trees from the zygote and sees them through to their end."""

    def __init__(self, config: messages.LauncherConfig, loop: Loop, owner: Owner) -> None:
        """Prepare; :meth:`start` starts the zygote.

        Args:
            config: of the launcher.
            loop: tells of what the zygote and the trees send.
            owner: uses the trees.
        """
        self._config, self._loop, self._owner = config, loop, owner
        self._trees: dict[int, ProcessTree] = {}
        self._count = self._failures = 0
        self._paused = False  #: standbys failed too often to try again unasked
        self._uids = list(range(1, uid_map.uid_range()[1])) if os.getuid() == 0 else []
        self._zygote = ZygoteClient(config.python)
        self._kind: type[NamespacedTree] | type[PlainTree] = PlainTree
        self._host = Host(None, own_uid=False, slots=config.slots, fast_fork=False, supervised=False)

    def start(self) -> Started:
        """Start the zygote.

        Raises:
            OSError: the interpreter cannot be executed.
            ZygoteFailed: it did not start; the text says why.
        """
        config = self._config
        ready = self._zygote.start(
            messages.ZygoteConfig(
                config.preload, config.network, config.level, mark(), config.fast_fork, config.weakening
            )
        )
        cgroups, no_cgroup = cgroup.find() if config.cgroup else (None, "control groups are switched off")
        if config.weakening.memory:
            cgroups = None
        self._kind = NamespacedTree if ready.level >= NamespacedTree.level else PlainTree
        self._host = Host(
            cgroups,
            own_uid=ready.own_uid,
            slots=config.slots,
            fast_fork=config.fast_fork,
            supervised=not config.weakening.seccomp,
            limit_memory=not config.weakening.memory,
        )
        for sock in self._zygote.sockets:
            self._loop.watch(sock, partial(self._on_zygote, sock))
        return Started(isolation_report(ready, cgroups, no_cgroup), ready.environment)

    # -- making them ---------------------------------------------------------------------------------------------

    def refill(self, *, asked: bool = False) -> None:
        """Make standbys until there is one more than there are slots: one can serve while another is being made.

        After too many failures none is made until a run needs it.

        Args:
            asked: a run needs a standby.
        """
        self._paused = self._paused and not asked
        if self._paused:
            return
        standbys = sum(tree.state in STANDBY and tree.spec.standby for tree in self._trees.values())
        for _ in range(self._config.slots + 1 - standbys):
            self._spawn(Spec(self._config.limits, self.tasks(self._config.limits)))

    def fitting(self, run: object, request: messages.RunCell) -> ProcessTree | None:
        """A ready tree for a run; None if there is none yet.

        A run whose file systems or network differ from a standby's has a tree made for it alone.

        Args:
            run: who asks.
            request: what is to run.
        """
        limits, usual = request.limits, self._config.limits
        same_mounts = (limits.disk_mb, limits.inodes, limits.shm_mb) == (usual.disk_mb, usual.inodes, usual.shm_mb)
        if same_mounts and not request.network:
            ready = (tree for tree in self._trees.values() if tree.state is State.READY and tree.spec.standby)
            return next(ready, None)
        for tree in self._trees.values():
            if tree.spec.run is run:
                return tree if tree.state is State.READY else None
        self._spawn(Spec(limits, self.tasks(limits), request.network, standby=False, run=run))
        return None

    def tasks(self, limits: messages.CellLimits) -> TaskLimits:
        """How many processes and threads a tree with these limits may have."""
        return self._kind.tasks(limits, self._host)

    def _spawn(self, spec: Spec) -> None:
        self._count += 1
        tree = self._kind(self._count, self._uids.pop(0) if self._uids else 0, spec, self._host)
        self._trees[tree.number] = tree
        if tree.control is not None:
            self._loop.watch(tree.control, lambda: self._on_parent(tree))
        self._loop.watch(tree.fds["events"], lambda: self._on_first_packet(tree))
        if isinstance(tree, NamespacedTree):
            try:
                tree.order_namespaces(self._zygote)
            except OSError:
                self._owner.on_lost()
        else:
            self._order_cell(tree)

    # -- their way -----------------------------------------------------------------------------------------------

    def _on_zygote(self, sock: socket.socket) -> None:
        message, fds = self._zygote.receive(sock)
        if message is None:
            self._owner.on_lost()
        assert isinstance(message, _OF_A_TREE)
        tree = self._trees.get(message.number)
        if tree is None:
            for fd in fds:
                os.close(fd)  # of a tree that was given up meanwhile
        elif isinstance(message, messages.CellEnded):
            tree.ended(message)
            self._on_cell_end(tree)
        elif isinstance(message, messages.Refused):
            self.broken(tree, message.text)
        elif tree.pid_fd < 0:
            tree.spawned(fds)
            self._loop.watch(tree.pid_fd, lambda: self._on_gone(tree))
            if isinstance(message, messages.NamespacesBuilt):
                self._order_cell(tree)
        else:
            tree.forked(fds[0])
            self._check_ready(tree)

    def _order_cell(self, tree: ProcessTree) -> None:
        tree.state = State.PREPARING
        try:
            if self._host.cgroups:
                tree.take_group(self._host.cgroups.group(str(tree.number)))
        except OSError as err:
            self.broken(tree, f"control group: {err}")
            return
        try:
            tree.order_cell(self._zygote)
        except OSError:
            self._owner.on_lost()

    def _on_parent(self, tree: ProcessTree) -> None:
        if not tree.read_control():
            if tree.control is not None:
                self._loop.forget(tree.control)
            if tree.state is not State.ENDING and tree.status is None and not tree.problem:
                tree.problem, tree.init_died = "the parent of the cell died", True
        if tree.problem:
            self.broken(tree, tree.problem)
        elif tree.status is not None:
            self._on_cell_end(tree)
        else:
            self._check_ready(tree)  # its process is known now, perhaps after it was ready

    def _on_first_packet(self, tree: ProcessTree) -> None:
        """A standby says that it is ready, or why it is not."""
        message = tree.first_message()
        if isinstance(message, messages.CellReady):
            tree.guards = message.guards
            self._loop.forget(tree.fds["events"])
            self._check_ready(tree)
        elif isinstance(message, messages.Broken):
            self.broken(tree, message.text)

    def _check_ready(self, tree: ProcessTree) -> None:
        if not tree.guards or tree.cell_pid < 0 or tree.state is not State.PREPARING:
            return
        if tree.group and not tree.group.holds(tree.cell_pid):
            self.broken(tree, "control group: the cell is not in it")
            return
        tree.ready()
        if tree.host.supervised and tree.listener < 0:
            self._stop_supervising(tree)
            return
        self._failures = 0
        self._owner.on_ready(tree)

    def _stop_supervising(self, tree: ProcessTree) -> None:
        """Nobody can answer for its calls, so this one is of no use; the next ones have their tasks bounded instead."""
        self._host = self._host._replace(supervised=False)
        tree.kill()

    def _on_cell_end(self, tree: ProcessTree) -> None:
        if tree.state is State.RUNNING:
            self._owner.on_cell_end(tree)
        elif tree.state in STANDBY:
            last = tree.first_message()
            why = f"the cell's process died before it was used (status {tree.status})"
            self.broken(tree, last.text if isinstance(last, messages.Broken) else why)

    # -- their end -----------------------------------------------------------------------------------------------

    def broken(self, tree: ProcessTree, why: str) -> None:
        """A tree failed: a promised guard, or a process, is missing. Its run ends as internal, never weaker."""
        tree.problem = tree.problem or why
        if tree.state is State.RUNNING:
            self._owner.on_broken(tree)
            return
        self._count_failure(tree)
        tree.kill()
        if tree.pid_fd < 0:
            self._dispose(tree)
            self._owner.on_free()

    def _count_failure(self, tree: ProcessTree) -> None:
        if tree.failed:
            return
        tree.failed = True
        self._owner.on_failed(tree)
        self._failures += 1
        if self._failures >= TRIES:
            # nobody is served by trying for ever; the next run starts afresh
            self._failures, self._paused = 0, True
            self._owner.on_hopeless(tree.problem)

    def _on_gone(self, tree: ProcessTree) -> None:
        """Init is dead, and with a process namespace so is everything that was below it."""
        self._loop.forget(tree.pid_fd)
        tree.read_control()
        if not self._owner.on_gone(tree) and tree.state is not State.ENDING:
            tree.problem = tree.problem or "died before it was used"
            self._count_failure(tree)
        tree.clean_up(self._zygote)
        self._dispose(tree)
        self._owner.on_free()

    def _dispose(self, tree: ProcessTree) -> None:
        self._loop.forget(*([tree.control] if tree.control is not None else ()), *tree.fds.values(), tree.listener)
        tree.close()
        self._trees.pop(tree.number, None)
        if tree.uid:
            self._uids.append(tree.uid)

    def close(self) -> None:
        """End every tree and the zygote, and leave nothing."""
        for tree in self._trees.values():
            tree.kill()
        self._zygote.close()
        end = time.monotonic() + _END_S
        for tree in self._trees.values():
            while tree.pid_fd >= 0 and time.monotonic() < end and not readable(tree.pid_fd):
                time.sleep(0.002)
            tree.close()
