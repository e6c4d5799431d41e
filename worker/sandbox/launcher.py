"""The launcher: one clean process per worker that keeps standbys ready, runs cells in them and ends them.

Started by exec with an empty environment and a single inherited descriptor. One thread, one selector, timers from
the monotonic clock. The worker's end of a run closing kills that run; the control socket closing kills everything.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import sys
import time
import traceback
from collections import deque
from functools import partial
from typing import Any, Final, NoReturn

from . import cgroup, usage, users
from .box import Box
from .guest import isolation, linux, tree
from .nursery import Nursery, ZygoteFailed
from .run import Run

_MESSAGE: Final = 1 << 16
#: states of a box on its way to be used
_STANDBY: Final = ("spawning", "preparing", "entering", "ready")
#: attempts to make a standby before what waits for one is told
_TRIES: Final = 3


class Launcher:
    """Owns the zygote, the standbys and the runs."""

    def __init__(self, control: socket.socket, config: dict[str, Any]) -> None:
        self._control, self._config = control, config
        self._selector = selectors.DefaultSelector()
        self._boxes: dict[int, Box] = {}
        self._runs: list[Run] = []
        self._waiting: deque[Run] = deque()
        self._count = self._failures = 0
        self._paused = False  #: standbys failed too often to try again unasked
        self._cgroups, self._no_cgroup = (
            cgroup.find() if config["cgroup"] else (None, "control groups are switched off")
        )
        if "memory" in config["guards_off"]:
            self._cgroups = None
        self._root = os.getuid() == 0
        self._uids = list(range(1, config["slots"] * 2 + 4))
        self._zygote = Nursery(config["python"], config["guards_off"])
        self._report: dict[str, Any] = {}
        self._ready: dict[str, Any] = {}  #: what the worker is told once the first standby has its guards on
        self._level = 0
        self._own_uid = False  #: cells get users of their own

    # -- start ---------------------------------------------------------------------------------------------------

    def run(self) -> NoReturn:
        """Start the zygote, tell the worker, serve it until it goes."""
        try:
            wanted = {name: self._config[name] for name in ("level", "preload", "network")}
            ready = self._zygote.start(wanted)
        except (OSError, ZygoteFailed) as err:
            self._send({"op": "broken", "text": str(err)})
            os._exit(1)
        self._level = ready["level"]
        self._own_uid = ready["own_uid"]
        self._report = self._isolation(ready)
        self._selector.register(self._control, selectors.EVENT_READ, self._on_control)
        for sock in self._zygote.sockets:
            self._selector.register(sock, selectors.EVENT_READ, partial(self._on_zygote, sock))
        self._ready = {"op": "ready", "report": self._report, "environment": ready["environment"]}
        self._refill()
        while True:
            self._turn()

    def _isolation(self, ready: dict[str, Any]) -> dict[str, Any]:
        full = self._level >= 2
        missing = list(ready["missing"])
        if self._cgroups is None:
            missing.append(f"cgroup: {self._no_cgroup}")
        return {
            "level": self._level,
            "userns": full,
            "pidns": full,
            "mountns": full,
            "netns": full,
            "own_uid": self._root and self._own_uid,
            "cgroup": f"v{self._cgroups.version}" if self._cgroups else None,
            "memory_limit": f"cgroup v{self._cgroups.version}" if self._cgroups else "sampled every 40 ms",
            "network": "none" if full else "refused by seccomp",
            "python": ready["python"],
            "preloaded": ready["preloaded"],
            "missing": missing,
        }

    # -- loop ----------------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        now = time.monotonic()
        deadline = min((run.deadline() for run in self._runs), default=float("inf"))
        for key, _ in self._selector.select(None if deadline == float("inf") else max(0.0, deadline - now)):
            # an earlier handler of this round may have closed it, and its number may be another's by now
            if self._selector.get_map().get(key.fd) is key:
                key.data()
        now = time.monotonic()
        for run in list(self._runs):
            run.tick(now)
            self._settle(run)

    def _settle(self, run: Run) -> None:
        """Keep the selector's interest in a run's socket right, and drop runs that are told."""
        if run.kill_reason and run.box is None and not run.done:
            self._waiting.remove(run)
            run.fail("", self._report)
        if run.done and not run.writing:
            self._forget(run)
        elif run in self._runs:
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if run.writing else 0)
            self._selector.modify(run.sock, events, lambda: self._on_run(run))

    def _forget(self, run: Run) -> None:
        if run in self._runs:
            self._runs.remove(run)
            self._selector.unregister(run.sock)
            run.close()

    def _on_control(self) -> None:
        try:
            data, fds, _, _ = socket.recv_fds(self._control, _MESSAGE, 1)
        except OSError:
            data, fds = b"", []
        if not data:
            self._quit()
        if json.loads(data)["op"] == "run":
            run = Run(socket.socket(fileno=fds[0]), sample_memory="memory" not in self._config["guards_off"])
            self._runs.append(run)
            self._selector.register(run.sock, selectors.EVENT_READ, lambda: self._on_run(run))

    def _on_run(self, run: Run) -> None:
        fresh = run.request is None
        if not run.read():
            # the worker died or lost interest: nobody is left to tell
            run.done = True
            run.kill()
            if run in self._waiting:
                self._waiting.remove(run)
            self._forget(run)
            return
        run.flush()
        if fresh and run.request is not None:
            self._waiting.append(run)
            self._paused = False
            self._dispatch()
            self._refill()

    def _on_zygote(self, sock: socket.socket) -> None:
        message, fds = self._zygote.receive(sock)
        if message is None:
            self._quit()
        box = self._boxes.get(message["id"])
        if box is None:
            for fd in fds:
                os.close(fd)  # of a box that was given up meanwhile
            return
        if message["op"] == "spawned":
            try:
                group = self._cgroups.group(str(box.number)) if self._cgroups else None
                box.spawned(fds[0], group)
                self._selector.register(box.pid_fd, selectors.EVENT_READ, lambda: self._on_gone(box))
            except OSError as err:
                self._broken(box, f"control group: {err}")
        elif message["op"] == "forked":
            try:
                box.forked(fds[0])
            except OSError as err:
                self._broken(box, f"control group: {err}")
        elif message["op"] == "ended":
            box.ended(message)
            self._on_cell_end(box)
        elif message["op"] == "refused":
            self._broken(box, message["text"])

    def _quit(self) -> NoReturn:
        for box in list(self._boxes.values()):
            box.kill()
        self._zygote.close()
        end = time.monotonic() + 5.0
        for box in list(self._boxes.values()):
            while box.pid_fd >= 0 and time.monotonic() < end and not _readable(box.pid_fd):
                time.sleep(0.002)
            box.close()
        os._exit(0)

    # -- standbys ------------------------------------------------------------------------------------------------

    def _refill(self) -> None:
        if self._paused:
            return
        standbys = sum(box.state in _STANDBY and box.spec["standby"] for box in self._boxes.values())
        for _ in range(self._config["slots"] - standbys):
            self._spawn(self._config["limits"], network=False, standby=True)

    def _spawn(self, limits: dict[str, Any], *, network: bool, standby: bool) -> Box:
        self._count += 1
        limits = self._with_tasks(limits)
        uid = self._uids.pop(0) if self._root and self._uids else 0
        spec = {"limits": limits, "network": network, "standby": standby, "level": self._level}
        box = Box(self._count, uid, spec)
        self._boxes[box.number] = box
        try:
            if self._level >= 2:
                self._zygote.order_house(self._order(box), box.control_far)
            else:
                self._zygote.order(self._order(box), [box.control_far, *box.cell_fds()])
                box.sent_cell()
        except OSError:
            self._quit()
        box.sent_control()
        self._selector.register(box.control, selectors.EVENT_READ, lambda: self._on_init(box))
        self._selector.register(box.fds["events"], selectors.EVENT_READ, lambda: self._on_first_packet(box))
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

    def _with_tasks(self, limits: dict[str, Any]) -> dict[str, Any]:
        """Processes and threads: for the tree as a group counts them, and for the user as the kernel does."""
        tasks = limits["processes"] + 1  # init is in it, too
        nproc = tasks
        if self._level < 2 and not (self._root and self._own_uid):
            # the limit counts everything else this user runs, so it can only bound the damage
            nproc += usage.tasks_of_user(os.getuid()) + limits["processes"] * self._config["slots"]
        return {**limits, "tasks": tasks, "nproc": nproc}

    def _cell_uid(self, uid: int) -> int:
        if self._level >= 2:
            return isolation.INSIDE_UID + uid
        return users.uid_range()[0] + uid if uid and self._own_uid else 0

    def _on_init(self, box: Box) -> None:
        if not box.read_control():
            with contextlib.suppress(KeyError):
                self._selector.unregister(box.control)
            if box.state != "ending" and box.status is None and not box.problem:
                box.problem = "the run's first process died"
        if box.problem:
            self._broken(box, box.problem)
        elif box.status is not None:
            self._on_cell_end(box)
        elif box.house and box.state == "preparing":
            box.state = "entering"
            try:
                self._zygote.order(self._order(box), box.cell_fds())
            except OSError:
                self._quit()
            box.sent_cell()

    def _on_cell_end(self, box: Box) -> None:
        if box.state == "running":
            run = self._run_of(box)
            box.kill()
            if run:
                # the answer need not wait until the kernel has taken the namespaces apart
                run.finish(self._report)
                self._settle(run)
        elif box.state in _STANDBY:
            self._broken(box, f"the cell's process died before it was used (status {box.status})")

    def _on_first_packet(self, box: Box) -> None:
        """A standby says that it is ready, or why it is not."""
        chunks, _ = box.read("events")
        for chunk in chunks[:1]:
            message = json.loads(chunk[1:])
            if message["type"] == "ready":
                box.ready(message["guards"])
                self._failures = 0
                self._selector.unregister(box.fds["events"])
                self._announce(box)
                self._dispatch()
            else:
                self._broken(box, message["text"])

    def _announce(self, box: Box) -> None:
        """Tell the worker, once, with what the first standby found to be really on."""
        if self._ready:
            self._report |= box.guards
            if not box.guards["landlock_abi"] and "landlock" not in self._config["guards_off"]:
                # without it a level keeps only what the next lower one promises
                self._report["level"] -= 1
                self._report["missing"].append("landlock: the kernel has none")
            self._ready["report"] = self._report
            self._send(self._ready)
            self._ready = {}

    def _broken(self, box: Box, why: str) -> None:
        """A box failed: a promised guard, or a process, is missing. Its run ends as internal, never weaker."""
        box.problem = box.problem or why
        if box.state == "running":
            run = self._run_of(box)
            if run:
                run.kill()
                return
        self._count_failure(box)
        if box.state != "ending":
            box.kill()
        if box.pid_fd < 0:
            self._dispose(box)
            self._refill()
            self._dispatch()

    def _count_failure(self, box: Box) -> None:
        if box.failed:
            return
        box.failed = True
        waiting: Run | None = box.spec.get("run")
        if waiting is not None and waiting in self._waiting:
            waiting.tries += 1
            if waiting.tries >= _TRIES:
                self._waiting.remove(waiting)
                waiting.fail(box.problem, self._report)
                self._settle(waiting)
        self._failures += 1
        if self._failures < _TRIES:
            return
        if self._ready:
            self._send({"op": "broken", "text": box.problem})
            self._quit()
        # nobody is served by trying for ever; the next run starts afresh
        self._failures, self._paused = 0, True
        while self._waiting:
            run = self._waiting.popleft()
            run.fail(box.problem, self._report)
            self._settle(run)

    def _dispatch(self) -> None:
        for run in list(self._waiting):
            box = self._fitting(run)
            if box is None:
                continue
            self._waiting.remove(run)
            try:
                run.start(box, self._with_tasks(run.request["limits"]) if run.request else {})
            except OSError as err:
                run.fail(f"the standby did not take the code: {err}", self._report)
                self._broken(box, str(err))
                continue
            for name in ("events", "stdout", "stderr"):
                self._selector.register(box.fds[name], selectors.EVENT_READ, partial(self._on_output, run))
            self._refill()

    def _fitting(self, run: Run) -> Box | None:
        """A ready standby for a run; one is ordered for a run that needs mounts or network of its own."""
        assert run.request is not None
        limits, network = run.request["limits"], bool(run.request.get("network"))
        same = all(limits[name] == self._config["limits"][name] for name in ("disk_mb", "inodes", "shm_mb"))
        if same and not network:
            return next((b for b in self._boxes.values() if b.state == "ready" and b.spec["standby"]), None)
        for box in self._boxes.values():
            if box.spec.get("run") is run:
                return box if box.state == "ready" else None
        self._spawn(limits, network=network, standby=False).spec["run"] = run
        return None

    # -- end of a box --------------------------------------------------------------------------------------------

    def _on_output(self, run: Run) -> None:
        if run.box is None:
            return
        if run.done:
            # what the cell left running may go on writing for the moment until it is dead
            for fd in run.box.fds.values():
                with contextlib.suppress(KeyError):
                    self._selector.unregister(fd)
            return
        run.collect()
        for name in list(run.box.fds):
            self._hush(run.box, name)

    def _hush(self, box: Box, name: str) -> None:
        # a pipe at its end stays readable for ever; init's report of the death is what ends the run
        if _hung_up(box.fds[name]):
            with contextlib.suppress(KeyError):
                self._selector.unregister(box.fds[name])

    def _on_gone(self, box: Box) -> None:
        """Init is dead, and with a process namespace so is everything that was below it."""
        self._selector.unregister(box.pid_fd)
        box.read_control()
        run = self._run_of(box)
        if run:
            run.finish(self._report)
        elif box.state != "ending":
            box.problem = box.problem or "died before it was used"
            self._count_failure(box)
        if self._level < 2:
            tree.kill_strays(self._zygote.pid)
        self._dispose(box)
        if run:
            self._settle(run)
        self._dispatch()
        self._refill()

    def _dispose(self, box: Box) -> None:
        for fd in (box.control.fileno(), *box.fds.values()):
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(fd)
        box.close()
        self._boxes.pop(box.number, None)
        if box.uid:
            self._uids.append(box.uid)

    def _run_of(self, box: Box) -> Run | None:
        return next((run for run in self._runs if run.box is box), None)

    def _send(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):
            self._control.send(json.dumps(message).encode())


def _readable(fd: int) -> bool:
    return bool(_poll(fd, selectors.EVENT_READ))


def _poll(fd: int, events: int) -> int:
    import select

    poll = select.poll()
    poll.register(fd, events)
    found = poll.poll(0)
    return found[0][1] if found else 0


def _hung_up(fd: int) -> bool:
    import select

    return _poll(fd, select.POLLIN) == select.POLLHUP


def main() -> NoReturn:
    """Entry point: descriptor of the control socket and configuration come as arguments."""
    linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    control = socket.socket(fileno=int(sys.argv[1]))
    launcher = Launcher(control, json.loads(sys.argv[2]))
    try:
        launcher.run()
    except Exception:
        launcher._send({"op": "broken", "text": traceback.format_exc()[-4000:]})
        os._exit(1)
