"""The boxes of one launcher: how many stand by, what happens on their way to being used, and their end."""

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
from .process_tree import Box
from .zygote_client import Nursery

#: states of a box on its way to be used
_STANDBY: Final = ("spawning", "preparing", "ready")
#: processes by which the kernel's own limit stands behind that of a group
_BEHIND: Final = 8
#: attempts to make a standby before what waits for one is told
TRIES: Final = 3
#: how long the kernel may take to end everything (seconds)
_END_S: Final = 5.0


class Owner(Protocol):
    """Who uses the boxes and is told of them."""

    def on_ready(self, box: Box) -> None:
        """It has its guards on and waits for code."""

    def on_failed(self, box: Box) -> None:
        """It broke before it was used."""

    def on_hopeless(self, why: str) -> None:
        """Too many broke in a row; no more are made unasked."""

    def on_broken(self, box: Box) -> None:
        """It broke while it was used."""

    def on_cell_end(self, box: Box) -> None:
        """The cell's process of a used one has ended."""

    def on_gone(self, box: Box) -> bool:
        """All of it is dead; says whether it had been used."""

    def on_free(self) -> None:
        """There is room for another."""

    def on_lost(self) -> NoReturn:
        """The zygote is dead: there will be no more boxes."""


class Standbys:
    """Orders boxes from the zygote and sees them through to their end."""

    def __init__(self, config: dict[str, Any], loop: Loop, owner: Owner) -> None:
        self._config, self._loop, self._owner = config, loop, owner
        self._boxes: dict[int, Box] = {}
        self._count = self._failures = 0
        self._paused = False  #: standbys failed too often to try again unasked
        self._cgroups, self._no_cgroup = (
            cgroup.find() if config["cgroup"] else (None, "control groups are switched off")
        )
        if "memory" in config["guards_off"]:
            self._cgroups = None
        self._root = os.getuid() == 0
        self._uids = list(range(1, uid_map.uid_range()[1]))
        self._zygote = Nursery(config["python"], config["guards_off"])
        self._level = 0
        self._own_uid = False  #: cells get users of their own

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
        standbys = sum(box.state in _STANDBY and box.spec["standby"] for box in self._boxes.values())
        for _ in range(self._config["slots"] + 1 - standbys):
            self._spawn(self._config["limits"], network=False, standby=True)

    def fitting(self, limits: dict[str, Any], *, network: bool, run: object) -> Box | None:
        """A ready box for a run; one is ordered for a run that needs mounts or network of its own."""
        same = all(limits[name] == self._config["limits"][name] for name in ("disk_mb", "inodes", "shm_mb"))
        if same and not network:
            return next((b for b in self._boxes.values() if b.state == "ready" and b.spec["standby"]), None)
        for box in self._boxes.values():
            if box.spec.get("run") is run:
                return box if box.state == "ready" else None
        self._spawn(limits, network=network, standby=False).spec["run"] = run
        return None

    def _spawn(self, limits: dict[str, Any], *, network: bool, standby: bool) -> Box:
        self._count += 1
        uid = self._uids.pop(0) if self._root and self._uids else 0
        spec = {"limits": self.with_tasks(limits), "network": network, "standby": standby, "level": self._level}
        box = Box(self._count, uid, spec)
        self._boxes[box.number] = box
        if box.control is not None:
            self._loop.watch(box.control, lambda: self._on_init(box))
        self._loop.watch(box.fds["events"], lambda: self._on_first_packet(box))
        if self._level >= 2:
            try:
                self._zygote.order_house(self._order(box))
            except OSError:
                self._owner.on_lost()
        else:
            self._order_cell(box)
        return box

    def _order(self, box: Box) -> dict[str, Any]:
        return {
            "id": box.number,
            "uid": self._cell_uid(box.uid),
            "limits": box.spec["limits"],
            "network": box.spec["network"],
            "home": box.home,
            "unseen_memory": self._cgroups is not None or "memory" in self._config["guards_off"],
            "guards_off": self._config["guards_off"],
        }

    def with_tasks(self, limits: dict[str, Any]) -> dict[str, Any]:
        """Processes and threads: for the tree as a group counts them, and for the user as the kernel does."""
        # in a group counts, too, what makes the cell end fast, or at level 1 the cell's parent
        tasks = limits["processes"] + (1 if self._cgroups or self._level < 2 else 0)
        # a group counts what it refuses, so it must be the first to refuse
        nproc = tasks + (_BEHIND if self._cgroups else 0)
        if self._level < 2 and not (self._root and self._own_uid):
            # the limit counts everything else this user runs, so it can only bound the damage
            nproc += accounting.tasks_of_user(os.getuid()) + limits["processes"] * self._config["slots"]
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
        box = self._boxes.get(message["id"])
        if box is None:
            for fd in fds:
                os.close(fd)  # of a box that was given up meanwhile
        elif message["op"] == "spawned":
            box.spawned(fds)
            self._loop.watch(box.pid_fd, lambda: self._on_gone(box))
            if box.house:
                self._order_cell(box)
        elif message["op"] == "forked":
            box.forked(fds[0])
            self._check_ready(box)
        elif message["op"] == "ended":
            box.ended(message)
            self._on_cell_end(box)
        elif message["op"] == "refused":
            self.broken(box, message["text"])

    def _order_cell(self, box: Box) -> None:
        box.state = "preparing"
        try:
            if self._cgroups:
                box.take_group(self._cgroups.group(str(box.number)))
        except OSError as err:
            self.broken(box, f"control group: {err}")
            return
        try:
            self._zygote.order(self._order(box), box.cell_fds())
        except OSError:
            self._owner.on_lost()
        box.sent_cell()

    def _on_init(self, box: Box) -> None:
        if not box.read_control():
            if box.control is not None:
                self._loop.forget(box.control)
            if box.state != "ending" and box.status is None and not box.problem:
                box.problem, box.init_died = "the run's first process died", True
        if box.problem:
            self.broken(box, box.problem)
        elif box.status is not None:
            self._on_cell_end(box)
        else:
            self._check_ready(box)  # its process is known now, perhaps after it was ready

    def _on_first_packet(self, box: Box) -> None:
        """A standby says that it is ready, or why it is not."""
        message = box.first_packet()
        if message is None:
            return
        if message["type"] == "ready":
            box.guards = message["guards"]
            self._loop.forget(box.fds["events"])
            self._check_ready(box)
        else:
            self.broken(box, message["text"])

    def _check_ready(self, box: Box) -> None:
        if not box.guards or box.cell_pid < 0 or box.state != "preparing":
            return
        if box.group and not box.group.holds(box.cell_pid):
            self.broken(box, "control group: the cell is not in it")
            return
        box.ready()
        self._failures = 0
        self._owner.on_ready(box)

    def _on_cell_end(self, box: Box) -> None:
        if box.state == "running":
            self._owner.on_cell_end(box)
        elif box.state in _STANDBY:
            last = box.first_packet() or {}
            self.broken(box, last.get("text") or f"the cell's process died before it was used (status {box.status})")

    # -- their end -----------------------------------------------------------------------------------------------

    def broken(self, box: Box, why: str) -> None:
        """A box failed: a promised guard, or a process, is missing. Its run ends as internal, never weaker."""
        box.problem = box.problem or why
        if box.state == "running":
            self._owner.on_broken(box)
            return
        self._count_failure(box)
        if box.state != "ending":
            box.kill()
        if box.pid_fd < 0:
            self._dispose(box)
            self._owner.on_free()

    def _count_failure(self, box: Box) -> None:
        if box.failed:
            return
        box.failed = True
        self._owner.on_failed(box)
        self._failures += 1
        if self._failures >= TRIES:
            # nobody is served by trying for ever; the next run starts afresh
            self._failures, self._paused = 0, True
            self._owner.on_hopeless(box.problem)

    def _on_gone(self, box: Box) -> None:
        """Init is dead, and with a process namespace so is everything that was below it."""
        self._loop.forget(box.pid_fd)
        box.read_control()
        if not self._owner.on_gone(box) and box.state != "ending":
            box.problem = box.problem or "died before it was used"
            self._count_failure(box)
        if self._level < 2:
            processes.kill_strays(self._zygote.pid)
        self._dispose(box)
        self._owner.on_free()

    def _dispose(self, box: Box) -> None:
        self._loop.forget(*([box.control] if box.control is not None else ()), *box.fds.values())
        box.close()
        self._boxes.pop(box.number, None)
        if box.uid:
            self._uids.append(box.uid)

    def close(self) -> None:
        """End every box and the zygote, and leave nothing."""
        for box in self._boxes.values():
            box.kill()
        self._zygote.close()
        end = time.monotonic() + _END_S
        for box in self._boxes.values():
            while box.pid_fd >= 0 and time.monotonic() < end and not readable(box.pid_fd):
                time.sleep(0.002)
            box.close()
