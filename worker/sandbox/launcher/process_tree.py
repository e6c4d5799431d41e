"""One used-once process tree, as the launcher sees it: its init, its cell, their descriptors and their end."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import tempfile
from typing import Any, Final

from ..linux import accounting, disk, processes, procfs, user_notification
from ..linux.cgroup import Group
from ..linux.launcher_id import mark
from ..linux.rmtree import remove_folder
from ..protocol import packets
from ..protocol.signals import SOFT_LIMIT

#: room in the event channel: the launcher may be busy for a moment while a cell prints
_CHANNEL: Final = 1 << 20
_READ: Final = 1 << 16
_ROUNDS: Final = 256


class ProcessTree:
    """A standby, later a run's processes; never used twice."""

    def __init__(self, number: int, uid: int, spec: dict[str, Any]) -> None:
        """Make the descriptors; the zygote makes the processes.

        Args:
            number: names the tree.
            uid: the cell's user inside the zygote's user namespace; 0: the worker's own.
            spec: ``limits``, ``network``, ``level``.
        """
        self.number, self.uid, self.spec = number, uid, spec
        self.state = "spawning"
        self.guards: dict[str, Any] = {}
        self.problem = ""  #: why it broke
        self.failed = False  #: counted as a failure
        self.init_died = False  #: by itself, which nothing but the kernel can bring about
        self.status: int | None = None  #: wait status of the cell, from init
        self.group: Group | None = None
        self.scratch: list[int] = []
        self.meter = accounting.Meter()
        self.cpu_before = 0.0  #: spent on getting ready
        self._size_before = 0
        self.growth = 0  #: bytes by which the cell's own process grew at most
        self.namespaces: list[int] = []  #: the namespaces that wait for the cell
        self._procs_descriptors: list[int] = []  #: of its control group
        self.init_pid = self.pid_fd = self.cell_pid = self.cell_fd = -1
        self.listener = -1  #: on which the cell's calls wait that the launcher answers
        self.home = tempfile.mkdtemp(prefix=f"codeexec-{mark()}-", dir=disk.scratch()) if spec["level"] < 2 else ""
        #: to the cell's parent; a namespaces needs none, its process 1 only collects orphans
        self.control: socket.socket | None = None
        self._control_far: socket.socket | None = None
        if spec["level"] < 2:
            self.control, self._control_far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self.control.setblocking(False)
        near_code, far_code = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._code, self._code_far = near_code.detach(), far_code.detach()
        self.fds: dict[str, int] = {}
        self._far: list[int] = []
        for name in ("stdout", "stderr", "events"):
            near, far = os.pipe2(os.O_CLOEXEC | (os.O_DIRECT if name == "events" else 0))
            os.set_blocking(near, False)
            self.fds[name] = near
            self._far.append(far)
        # an unprivileged user's pipes share a budget: a smaller channel then has to do
        with contextlib.suppress(OSError):
            fcntl.fcntl(self.fds["events"], fcntl.F_SETPIPE_SZ, _CHANNEL)

    def cell_fds(self) -> list[int]:
        """The descriptors that the zygote passes on: namespaces or control socket, pipes, cgroup.procs files."""
        first = self.namespaces if self._control_far is None else [self._control_far.fileno()]
        return [*first, self._code_far, *self._far, *self._procs_descriptors]

    def sent_cell(self) -> None:
        """The far ends belong to the cell, and its parent, now."""
        for fd in (*self.namespaces, self._code_far, *self._far, *self._procs_descriptors):
            os.close(fd)
        self._far, self.namespaces, self._procs_descriptors = [], [], []
        if self._control_far is not None:
            self._control_far.close()

    def spawned(self, fds: list[int]) -> None:
        """The cell's surroundings exist.

        Args:
            fds: the run's process 1, its namespaces and its two scratch file systems; or the cell's parent alone.
        """
        self.pid_fd, self.init_pid = fds[0], _pid_of(fds[0])
        self.namespaces, self.scratch = fds[1:-2], fds[1:][-2:]
        if self.control is not None:
            self.control.send(b"go")

    def take_group(self, group: Group) -> None:
        """Have a control group, with the limits, in which nothing is yet.

        Raises:
            OSError: it does not take the limits.
        """
        self.group = group
        group.limit(self.spec["limits"]["memory_mb"], self.spec["limits"]["tasks"])
        self._procs_descriptors = group.procs_descriptors()

    def forked(self, pid_fd: int) -> None:
        """The cell's process exists."""
        self.cell_fd, self.cell_pid = pid_fd, _pid_of(pid_fd)

    def read_control(self) -> bool:
        """Take the messages of the cell's parent; false when there will be no more."""
        while self.control is not None:
            try:
                data = self.control.recv(1 << 16)
            except BlockingIOError:
                return True
            except OSError:
                return False
            if not data:
                return False
            message = json.loads(data)
            if message["op"] == "forked":
                self._find_cell()
            elif message["op"] == "ended":
                self.ended(message)
            elif message["op"] == "broken":
                self.problem = message["text"]
        return True

    def _find_cell(self) -> None:
        # a descriptor, not a number: a number could be another process's by the time it is signalled
        children = processes.descendants(self.init_pid)
        if children:
            self.cell_pid = children[0]
            with contextlib.suppress(OSError):
                self.cell_fd = os.pidfd_open(self.cell_pid)

    def ready(self) -> None:
        """The cell has its guards on and is in its control group: what it uses from now on counts."""
        if number := self.guards.pop("listener", 0):
            with contextlib.suppress(OSError):
                self.listener = user_notification.from_process(self.cell_fd, number)
        self.state = "ready"
        self.cpu_before = self.meter.read(self.init_pid, [self.cell_pid])  # there is nothing else yet
        self._size_before = accounting.resident(self.cell_pid)
        if self.group:
            self.group.reset_peak()

    def ended(self, message: dict[str, Any]) -> None:
        """The cell's process was waited for."""
        if self.state != "ending":
            self.status = message["status"]  # what we killed ourselves did not end by itself
        # a forked process starts with the size of what it was forked from
        self.growth = max(0, message["most"] - self._size_before)

    def hand_over(self, request: dict[str, Any], fds: list[int]) -> None:
        """Give the standby its code.

        Args:
            request: what to run.
            fds: descriptors that it needs, in the order of the request's ``descriptors``.
        """
        data = json.dumps(request).encode()
        sock = socket.socket(fileno=self._code)
        self._code = -1
        with sock:
            sent = socket.send_fds(sock, [data], fds) if fds else 0
            sock.sendall(memoryview(data)[sent:])
        self.state = "running"

    def discard_code(self) -> None:
        """End the code pipe; a standby that got nothing goes away by itself."""
        if self._code >= 0:
            os.close(self._code)
            self._code = -1

    def read(self, name: str) -> tuple[list[bytes], bool]:
        """What lies in a pipe: chunks (packets, for the event channel), and whether it has ended."""
        chunks: list[bytes] = []
        size = packets.PACKET if name == "events" else _READ
        for _ in range(_ROUNDS if name == "events" else 4):
            try:
                chunk = os.read(self.fds[name], size)
            except BlockingIOError:
                return chunks, False
            if not chunk:
                return chunks, True
            chunks.append(chunk)
        return chunks, False

    def first_packet(self) -> dict[str, Any] | None:
        """What the standby says of itself, before any code of others runs in it."""
        chunks, _ = self.read("events")
        message: dict[str, Any] | None = json.loads(chunks[0][1:]) if chunks else None
        return message

    def interrupt(self) -> None:
        """The soft limit: a signal to the cell's process alone."""
        if self.cell_fd >= 0:
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(self.cell_fd, SOFT_LIMIT)

    def kill(self) -> None:
        """End the tree; the process descriptor becomes readable when all of it is gone."""
        if self.state == "ending":
            return
        self.state = "ending"
        if self.pid_fd < 0:
            return
        if self.spec["level"] >= 2:
            # the kernel kills a process namespace with its first process
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(self.pid_fd, signal.SIGKILL)
        elif self.control is not None:
            with contextlib.suppress(OSError):
                self.control.send(b"kill")

    def kill_hard(self) -> None:
        """Init did not do it in time."""
        if self.init_pid > 0:
            processes.kill_below(self.init_pid)
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(self.pid_fd, signal.SIGKILL)

    def pids(self) -> list[int]:
        """The cell and everything below it or left to init."""
        if self.init_pid < 0:
            return []
        below = processes.descendants(self.init_pid)
        if self.spec["level"] >= 2 and self.cell_pid > 0:
            # forked from the zygote, it is not init's child; what it leaves behind is
            below += [self.cell_pid, *processes.descendants(self.cell_pid)]
        return below

    def close(self) -> None:
        """Leave nothing: descriptors, group, folder."""
        self.state = "gone"
        if self._far:
            self.sent_cell()
        if self.control is not None:
            self.control.close()
        self.discard_code()
        for fd in (*self.fds.values(), *self.scratch, self.pid_fd, self.cell_fd, self.listener):
            if fd >= 0:
                os.close(fd)
        self.fds, self.scratch = {}, []
        self.pid_fd = self.cell_fd = self.listener = -1
        if self.group:
            self.group.remove()
        if self.home:
            remove_folder(self.home)


def _pid_of(pid_fd: int) -> int:
    """The process id here, whatever it is in the namespace of whoever sent the descriptor."""
    for line in procfs.read(f"/proc/self/fdinfo/{pid_fd}").splitlines():
        if line.startswith("Pid:"):
            return int(line.split()[1])
    return -1
