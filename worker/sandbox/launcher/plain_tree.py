"""A process tree without namespaces: only ancestry ties it together, so the cell has a parent that ends it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import tempfile

from ..linux import accounting, disk, processes
from ..linux.launcher_id import mark
from ..linux.rmtree import remove_folder
from ..protocol import messages
from . import uid_map
from .namespaced_tree import GROUP_FIRST
from .process_tree import Host, ProcessTree, Spec, TaskLimits, pid_of
from .zygote_client import ZygoteClient

_MESSAGE = 1 << 16


class PlainTree(ProcessTree):
    """The zygote forks the cell's parent; the parent forks the cell, reports how it ended, and kills what is left."""

    level = 1

    def __init__(self, number: int, uid: int, spec: Spec, host: Host) -> None:
        """Make the descriptors and the cell's folder."""
        super().__init__(number, uid, spec, host)
        self.home = tempfile.mkdtemp(prefix=f"codeexec-{mark()}-", dir=disk.scratch())
        self._control, self._control_far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.setblocking(False)

    @classmethod
    def tasks(cls, limits: messages.CellLimits, host: Host) -> TaskLimits:
        """The user may have other processes: all of the worker's, unless each cell has a user of its own."""
        tree = (limits.tasks if host.supervised else limits.processes) + 1  # the cell's parent
        user = tree + (GROUP_FIRST if host.cgroups else 0)
        if os.getuid() != 0 or not host.own_uid:
            # the limit counts everything else this user runs, so it can only bound the damage
            user += accounting.tasks_of_user(os.getuid()) + tree * host.slots
        return TaskLimits(tree, user)

    @property
    def control(self) -> socket.socket | None:
        """On which the parent of the cell reports."""
        return self._control

    def spawned(self, fds: list[int]) -> None:
        """Take the parent's descriptor, and let the parent fork the cell."""
        self.pid_fd, self.init_pid = fds[0], pid_of(fds[0])
        self._control.send(messages.encode(messages.Proceed()))

    def read_control(self) -> bool:
        """Take the messages of the cell's parent; false when there will be no more."""
        while True:
            try:
                data = self._control.recv(_MESSAGE)
            except BlockingIOError:
                return True
            except OSError:
                return False
            if not data:
                return False
            message = messages.decode(data)
            if isinstance(message, messages.CellForked):
                self._find_cell()
            elif isinstance(message, messages.CellEnded):
                self.ended(message)
            elif isinstance(message, messages.Broken):
                self.problem = message.text

    def _find_cell(self) -> None:
        # a descriptor, not a number: a number could be another process's by the time it is signalled
        children = processes.descendants(self.init_pid)
        if children:
            self.cell_pid = children[0]
            with contextlib.suppress(OSError):
                self.cell_fd = os.pidfd_open(self.cell_pid)

    def pids(self) -> list[int]:
        """Everything below the cell's parent, which inherits what the cell leaves behind."""
        return processes.descendants(self.init_pid) if self.init_pid > 0 else []

    def _signal_end(self) -> None:
        self._control.send(messages.encode(messages.Kill()))

    def kill_hard(self) -> None:
        """Kill what is below the parent, and the parent."""
        if self.init_pid > 0:
            processes.kill_below(self.init_pid)
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(self.pid_fd, signal.SIGKILL)

    def clean_up(self, zygote: ZygoteClient) -> None:
        """Kill cells whose parent was killed: they have become children of the zygote."""
        processes.kill_strays(zygote.pid)

    @property
    def _cell_uid(self) -> int:
        return uid_map.uid_range()[0] + self.uid if self.uid and self.host.own_uid else 0

    def _first_fds(self) -> list[int]:
        return [self._control_far.fileno()]

    def _close_first(self) -> None:
        self._control_far.close()

    def close(self) -> None:
        """Leave nothing: descriptors, control group, folder."""
        super().close()
        self._control.close()
        remove_folder(self.home)
