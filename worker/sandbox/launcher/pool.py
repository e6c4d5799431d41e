"""The trees of one launcher: how many stand by, what happens on their way to being used, and their end."""

from __future__ import annotations

import os
import socket
import time
from functools import partial
from typing import Any, Final, NoReturn, Protocol

from ..linux import accounting, cgroup, namespaces, processes
from . import uid_map
from .event_loop import Loop, readable
from .isolation_report import isolation_report
from .process_tree import ProcessTree
from .zygote_client import ZygoteClient

#: states of a tree on its way to be used
_STANDBY: Final = ("spawning", "preparing", "ready")
#: processes by which the kernel's own limit stands behind that of a group
_BEHIND: Final = 8
#: attempts to make a standby before what waits for one is told
TRIES: Final = 3
#: how long the kernel may take to end everything (seconds)
_END_S: Final = 5.0


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


class StandbyPool:
    """Orders trees from the zygote and sees them through to their end."""

    def __init__(self, config: dict[str, Any], loop: Loop, owner: Owner) -> None:
        self._config, self._loop, self._owner = config, loop, owner
        self._boxes: dict[int, ProcessTree] = {}
        self._count = self._failures = 0
        self._paused = False  #: standbys failed too often to try again unasked
        self._cgroups, self._no_cgroup = (
            cgroup.find() if config["cgroup"] else (None, "control groups are switched off")
        )
        if "memory" in config["guards_off"]:
            self._cgroups = None
        self._root = os.getuid() == 0
        self._uids = list(range(1, uid_map.uid_range()[1]))
        self._zygote = ZygoteClient(config["python"], config["guards_off"])
        self._level = 0
        self._own_uid = False  #: cells get users of their own
        #: processes are counted apart from threads, by answering for each new one
        self._supervise = "seccomp" not in config["guards_off"]

    def start(self) -> dict[str, Any]:
        """Start the zygote; returns what it says about itself, and the isolation there is as ``report``.

        Raises:
            OSError: the interpreter cannot be executed.
            ZygoteFailed: it did not start; the text says why.
        """
        ready = self._zygote.start({name: self._config[name] for name in ("level", "preload", "network", "guards_off")})
        self._level, self._own_uid = ready["level"], ready["own_uid"]
        for sock in self._zygote.sockets:
            self._loop.watch(sock, partial(self._on_zygote, sock))
        return {**ready, "report": isolation_report(ready, self._cgroups, self._no_cgroup)}

    # -- making them ---------------------------------------------------------------------------------------------

    def refill(self, *, asked: bool = False) -> None:
        """Make one more than there are slots, unless they failed too often and nobody has asked since.

        The one more serves the next cell while the one that replaces the last cell's is being made.
        """
        self._paused = self._paused and not asked
        if self._paused:
            return
        standbys = sum(tree.state in _STANDBY and tree.spec["standby"] for tree in self._boxes.values())
        for _ in range(self._config["slots"] + 1 - standbys):
            self._spawn(self._config["limits"], network=False, standby=True)

    def fitting(self, limits: dict[str, Any], *, network: bool, run: object) -> ProcessTree | None:
        """A ready tree for a run; one is ordered for a run that needs mounts or network of its own."""
        same = all(limits[name] == self._config["limits"][name] for name in ("disk_mb", "inodes", "shm_mb"))
        if same and not network:
            return next((b for b in self._boxes.values() if b.state == "ready" and b.spec["standby"]), None)
        for tree in self._boxes.values():
            if tree.spec.get("run") is run:
                return tree if tree.state == "ready" else None
        self._spawn(limits, network=network, standby=False).spec["run"] = run
        return None

    def _spawn(self, limits: dict[str, Any], *, network: bool, standby: bool) -> ProcessTree:
        self._count += 1
        uid = self._uids.pop(0) if self._root and self._uids else 0
        spec = {"limits": self.with_tasks(limits), "network": network, "standby": standby, "level": self._level}
        spec["supervised"] = self._supervise
        tree = ProcessTree(self._count, uid, spec)
        self._boxes[tree.number] = tree
        if tree.control is not None:
            self._loop.watch(tree.control, lambda: self._on_init(tree))
        self._loop.watch(tree.fds["events"], lambda: self._on_first_packet(tree))
        if self._level >= 2:
            try:
                self._zygote.order_house(self._order(tree))
            except OSError:
                self._owner.on_lost()
        else:
            self._order_cell(tree)
        return tree

    def _order(self, tree: ProcessTree) -> dict[str, Any]:
        return {
            "id": tree.number,
            "uid": self._cell_uid(tree.uid),
            "limits": tree.spec["limits"],
            "network": tree.spec["network"],
            "home": tree.home,
            "unseen_memory": self._cgroups is not None or "memory" in self._config["guards_off"],
            "supervised": tree.spec["supervised"],
            "guards_off": self._config["guards_off"],
        }

    def with_tasks(self, limits: dict[str, Any]) -> dict[str, Any]:
        """Processes and threads: for the tree as a group counts them, and for the user as the kernel does."""
        # in a group counts, too, what makes the cell end fast, or at level 1 the cell's parent
        tasks = limits["tasks" if self._supervise else "processes"] + (1 if self._cgroups or self._level < 2 else 0)
        # a group counts what it refuses, so it must be the first to refuse
        nproc = tasks + (_BEHIND if self._cgroups else 0)
        if self._level < 2 and not (self._root and self._own_uid):
            # the limit counts everything else this user runs, so it can only bound the damage
            nproc += accounting.tasks_of_user(os.getuid()) + tasks * self._config["slots"]
        return {**limits, "tasks": tasks, "nproc": nproc}

    def _cell_uid(self, uid: int) -> int:
        if self._level >= 2:
            return namespaces.INSIDE_UID + uid
        return uid_map.uid_range()[0] + uid if uid and self._own_uid else 0

    # -- their way -----------------------------------------------------------------------------------------------

    def _on_zygote(self, sock: socket.socket) -> None:
        message, fds = self._zygote.receive(sock)
        if message is None:
            self._owner.on_lost()
        tree = self._boxes.get(message["id"])
        if tree is None:
            for fd in fds:
                os.close(fd)  # of a tree that was given up meanwhile
        elif message["op"] == "spawned":
            tree.spawned(fds)
            self._loop.watch(tree.pid_fd, lambda: self._on_gone(tree))
            if tree.namespaces:
                self._order_cell(tree)
        elif message["op"] == "forked":
            tree.forked(fds[0])
            self._check_ready(tree)
        elif message["op"] == "ended":
            tree.ended(message)
            self._on_cell_end(tree)
        elif message["op"] == "refused":
            self.broken(tree, message["text"])

    def _order_cell(self, tree: ProcessTree) -> None:
        tree.state = "preparing"
        try:
            if self._cgroups:
                tree.take_group(self._cgroups.group(str(tree.number)))
        except OSError as err:
            self.broken(tree, f"control group: {err}")
            return
        try:
            self._zygote.order(self._order(tree), tree.cell_fds())
        except OSError:
            self._owner.on_lost()
        tree.sent_cell()

    def _on_init(self, tree: ProcessTree) -> None:
        if not tree.read_control():
            if tree.control is not None:
                self._loop.forget(tree.control)
            if tree.state != "ending" and tree.status is None and not tree.problem:
                tree.problem, tree.init_died = "the run's first process died", True
        if tree.problem:
            self.broken(tree, tree.problem)
        elif tree.status is not None:
            self._on_cell_end(tree)
        else:
            self._check_ready(tree)  # its process is known now, perhaps after it was ready

    def _on_first_packet(self, tree: ProcessTree) -> None:
        """A standby says that it is ready, or why it is not."""
        message = tree.first_packet()
        if message is None:
            return
        if message["type"] == "ready":
            tree.guards = message["guards"]
            self._loop.forget(tree.fds["events"])
            self._check_ready(tree)
        else:
            self.broken(tree, message["text"])

    def _check_ready(self, tree: ProcessTree) -> None:
        if not tree.guards or tree.cell_pid < 0 or tree.state != "preparing":
            return
        if tree.group and not tree.group.holds(tree.cell_pid):
            self.broken(tree, "control group: the cell is not in it")
            return
        tree.ready()
        if tree.spec["supervised"] and tree.listener < 0:
            self._stop_supervising(tree)
            return
        self._failures = 0
        self._owner.on_ready(tree)

    def _stop_supervising(self, tree: ProcessTree) -> None:
        """Nobody can answer for its calls, so this one is of no use; the next ones have their tasks bounded instead."""
        self._supervise = False
        tree.kill()

    @property
    def supervised(self) -> bool:
        """Whether processes are bounded apart from threads."""
        return self._supervise

    def _on_cell_end(self, tree: ProcessTree) -> None:
        if tree.state == "running":
            self._owner.on_cell_end(tree)
        elif tree.state in _STANDBY:
            last = tree.first_packet() or {}
            self.broken(tree, last.get("text") or f"the cell's process died before it was used (status {tree.status})")

    # -- their end -----------------------------------------------------------------------------------------------

    def broken(self, tree: ProcessTree, why: str) -> None:
        """A tree failed: a promised guard, or a process, is missing. Its run ends as internal, never weaker."""
        tree.problem = tree.problem or why
        if tree.state == "running":
            self._owner.on_broken(tree)
            return
        self._count_failure(tree)
        if tree.state != "ending":
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
        if not self._owner.on_gone(tree) and tree.state != "ending":
            tree.problem = tree.problem or "died before it was used"
            self._count_failure(tree)
        if self._level < 2:
            processes.kill_strays(self._zygote.pid)
        self._dispose(tree)
        self._owner.on_free()

    def _dispose(self, tree: ProcessTree) -> None:
        self._loop.forget(*([tree.control] if tree.control is not None else ()), *tree.fds.values(), tree.listener)
        tree.close()
        self._boxes.pop(tree.number, None)
        if tree.uid:
            self._uids.append(tree.uid)

    def close(self) -> None:
        """End every tree and the zygote, and leave nothing."""
        for tree in self._boxes.values():
            tree.kill()
        self._zygote.close()
        end = time.monotonic() + _END_S
        for tree in self._boxes.values():
            while tree.pid_fd >= 0 and time.monotonic() < end and not readable(tree.pid_fd):
                time.sleep(0.002)
            tree.close()
