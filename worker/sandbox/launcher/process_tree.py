"""The processes of one cell, as the launcher sees them: descriptors, control group, states, and their end.

How a tree comes to be and how it is killed depends on whether there are namespaces: see ``namespaced_tree`` and
``plain_tree``, which implement the methods that :class:`ProcessTree` leaves open.
"""

from __future__ import annotations

import abc
import contextlib
import fcntl
import os
import signal
import socket
from enum import Enum
from typing import Any, ClassVar, Final, NamedTuple

from ..linux import accounting, procfs, user_notification
from ..linux.cgroup import Cgroups, Group
from ..protocol import messages, packets
from ..protocol.signals import SOFT_LIMIT
from .zygote_client import ZygoteClient

#: room in the event channel: the launcher may be busy for a moment while a cell prints
_CHANNEL: Final = 1 << 20
_READ: Final = 1 << 16
_ROUNDS: Final = 256


class State(Enum):
    """Where a tree is on its way; it never goes back."""

    SPAWNING = "spawning"  #: its surroundings are being made
    PREPARING = "preparing"  #: the cell is ordered and puts its guards on
    READY = "ready"  #: the cell waits for code
    RUNNING = "running"  #: the cell has code
    ENDING = "ending"  #: it was killed
    GONE = "gone"  #: nothing of it is left


#: states of a standby
STANDBY: Final = (State.SPAWNING, State.PREPARING, State.READY)


class TaskLimits(NamedTuple):
    """How many processes and threads there may be."""

    tree: int  #: in the process tree, as a control group counts them
    user: int  #: of the cell's user, as the kernel counts them


class Host(NamedTuple):
    """What all trees of one launcher have in common."""

    cgroups: Cgroups | None
    own_uid: bool  #: whether cells get users of their own
    slots: int
    fast_fork: bool
    supervised: bool  #: processes are counted apart from threads, by answering for each new one
    limit_memory: bool = True  #: False only in tests


class Spec(NamedTuple):
    """What a tree is made for."""

    limits: messages.CellLimits
    tasks: TaskLimits
    network: bool = False
    standby: bool = True  #: it serves whoever comes next
    run: object = None  #: it serves this run alone


class ProcessTree(abc.ABC):
    """A standby, later the processes of a run; never used twice."""

    #: isolation level that trees of this kind give
    level: ClassVar[int]

    def __init__(self, number: int, uid: int, spec: Spec, host: Host) -> None:
        """Make the descriptors; the zygote makes the processes.

        Args:
            number: names the tree.
            uid: which of the launcher's users the cell gets; 0: the worker's own.
            spec: what the tree is made for.
            host: what the launcher's trees have in common.
        """
        self.number, self.uid, self.spec, self.host = number, uid, spec, host
        self.state = State.SPAWNING
        self.guards: dict[str, Any] = {}
        self.problem = ""  #: why it broke
        self.failed = False  #: counted as a failure
        self.init_died = False  #: process 1 or the parent died by itself, which only the kernel can bring about
        self.status: int | None = None  #: wait status of the cell
        self.group: Group | None = None
        self.scratch: list[int] = []  #: descriptors of the cell's file systems in memory
        self.meter = accounting.Meter()
        self.cpu_before = 0.0  #: processor seconds that it took to get ready
        self._size_before = 0
        self.growth = 0  #: bytes by which the cell's own process grew at most
        self._group_fds: list[int] = []  #: ``cgroup.procs`` of its control group, open for writing
        self.init_pid = self.pid_fd = self.cell_pid = self.cell_fd = -1
        self.listener = -1  #: on which the cell's calls wait that the launcher answers
        self.home = ""  #: the cell's folder on the host, where it has no mounts of its own
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

    # -- what depends on the kind --------------------------------------------------------------------------------

    @classmethod
    @abc.abstractmethod
    def tasks(cls, limits: messages.CellLimits, host: Host) -> TaskLimits:
        """How many processes and threads a tree of this kind may have."""

    @property
    def control(self) -> socket.socket | None:
        """On which the parent of the cell reports, if the cell has one."""
        return None

    @abc.abstractmethod
    def spawned(self, fds: list[int]) -> None:
        """The first process of the tree exists.

        Args:
            fds: came with the message.
        """

    def read_control(self) -> bool:
        """Take the messages of the cell's parent; false when there will be no more."""
        return True

    @abc.abstractmethod
    def pids(self) -> list[int]:
        """The cell, everything below it, and what it left behind."""

    def kernel_memory(self) -> int:
        """Bytes that the kernel holds for the cell beside its pages, where no control group counts them."""
        return 0

    @abc.abstractmethod
    def _signal_end(self) -> None:
        """Start the end of everything in the tree."""

    @abc.abstractmethod
    def kill_hard(self) -> None:
        """End what did not end in time."""

    def clean_up(self, zygote: ZygoteClient) -> None:
        """Its first process is dead: end what outlived it."""
        del zygote

    @property
    @abc.abstractmethod
    def _cell_uid(self) -> int:
        """The cell's user, as the zygote counts."""

    @abc.abstractmethod
    def _first_fds(self) -> list[int]:
        """The descriptors that come before those of every cell."""

    @abc.abstractmethod
    def _close_first(self) -> None:
        """Close what :meth:`_first_fds` gives: it belongs to the cell now."""

    # -- its way -------------------------------------------------------------------------------------------------

    def order_cell(self, zygote: ZygoteClient) -> None:
        """Ask the zygote for the cell, or for the parent of one.

        Raises:
            OSError: the zygote does not listen any more.
        """
        message = messages.ForkCell(
            number=self.number,
            uid=self._cell_uid,
            network=self.spec.network,
            home=self.home,
            unseen_memory=self.host.cgroups is not None or not self.host.limit_memory,
            supervised=self.host.supervised,
        )
        zygote.order(message, [*self._first_fds(), self._code_far, *self._far, *self._group_fds])
        self._close_far()

    def _close_far(self) -> None:
        # the far ends belong to the cell, and its parent, now
        for fd in (self._code_far, *self._far, *self._group_fds):
            os.close(fd)
        self._far, self._group_fds = [], []
        self._close_first()

    def take_group(self, group: Group) -> None:
        """Have a control group, with the limits, in which nothing is yet.

        Raises:
            OSError: it does not take the limits.
        """
        self.group = group
        group.limit(self.spec.limits.memory_mb, self.spec.tasks.tree)
        self._group_fds = group.procs_descriptors()

    def forked(self, pid_fd: int) -> None:
        """The cell's process exists."""
        self.cell_fd, self.cell_pid = pid_fd, pid_of(pid_fd)

    def ready(self) -> None:
        """The cell has its guards on and is in its control group: what it uses from now on counts."""
        if number := self.guards.pop("listener", 0):
            with contextlib.suppress(OSError):
                self.listener = user_notification.from_process(self.cell_fd, number)
        self.state = State.READY
        self.cpu_before = self.meter.read(self.init_pid, [self.cell_pid])  # there is nothing else yet
        self._size_before = accounting.resident(self.cell_pid)
        if self.group:
            self.group.reset_peak()

    def ended(self, message: messages.CellEnded) -> None:
        """The cell's process was waited for."""
        if self.state is not State.ENDING:
            self.status = message.status  # what we killed ourselves did not end by itself
        # a forked process starts with the size of what it was forked from
        self.growth = max(0, message.peak - self._size_before)

    def hand_over(self, code: messages.CellCode, fds: list[int]) -> None:
        """Give the standby its code.

        Args:
            code: what to run.
            fds: descriptors that it needs, in the order of the message's ``descriptors``.

        Raises:
            OSError: the standby is gone.
        """
        data = messages.encode(code)
        sock = socket.socket(fileno=self._code)
        self._code = -1
        with sock:
            sent = socket.send_fds(sock, [data], fds) if fds else 0
            sock.sendall(memoryview(data)[sent:])
        self.state = State.RUNNING

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

    def first_message(self) -> messages.Message | None:
        """What the standby says of itself, before anybody's code runs in it; None if it says nothing.

        Raises:
            BadMessage: it sent something else.
        """
        chunks, _ = self.read("events")
        return messages.decode(chunks[0][1:]) if chunks else None

    # -- its end -------------------------------------------------------------------------------------------------

    def interrupt(self) -> None:
        """Tell the cell of the soft limit: a signal to its process alone."""
        if self.cell_fd >= 0:
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(self.cell_fd, SOFT_LIMIT)

    def kill(self) -> None:
        """End the tree; the process descriptor becomes readable when all of it is gone."""
        if self.state is State.ENDING:
            return
        self.state = State.ENDING
        if self.pid_fd >= 0:
            with contextlib.suppress(OSError):
                self._signal_end()

    def close(self) -> None:
        """Leave nothing: descriptors, control group, folder."""
        self.state = State.GONE
        if self._far:
            self._close_far()
        self.discard_code()
        for fd in (*self.fds.values(), *self.scratch, self.pid_fd, self.cell_fd, self.listener):
            if fd >= 0:
                os.close(fd)
        self.fds, self.scratch = {}, []
        self.pid_fd = self.cell_fd = self.listener = -1
        if self.group:
            self.group.remove()


def pid_of(pid_fd: int) -> int:
    """The process id here, whatever it is in the namespace of whoever sent the descriptor."""
    for line in procfs.read(f"/proc/self/fdinfo/{pid_fd}").splitlines():
        if line.startswith("Pid:"):
            return int(line.split()[1])
    return -1
