"""A process tree in namespaces of its own: the kernel kills it whole, with its process 1."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import Final

from ..linux import accounting, namespaces, processes
from ..protocol import messages
from .process_tree import Host, ProcessTree, Spec, TaskLimits, pid_of
from .zygote_client import ZygoteClient

#: a control group counts what it refuses, so the kernel's own limit must lie this much above the group's
GROUP_FIRST: Final = 8


class NamespacedTree(ProcessTree):
    """The namespace server builds the namespaces and forks process 1, then the zygote forks the cell into them."""

    level = 2

    def __init__(self, number: int, uid: int, spec: Spec, host: Host) -> None:
        """As for any tree."""
        super().__init__(number, uid, spec, host)
        self._namespaces: list[int] = []  #: those that the cell enters itself

    @classmethod
    def tasks(cls, limits: messages.CellLimits, host: Host) -> TaskLimits:
        """The user, in a user namespace of the tree's own, has no other processes."""
        # the process that holds the cell's memory is in the control group as well
        tree = (limits.tasks if host.supervised else limits.processes) + (1 if host.cgroups and host.fast_fork else 0)
        return TaskLimits(tree, tree + (GROUP_FIRST if host.cgroups else 0))

    def order_namespaces(self, zygote: ZygoteClient) -> None:
        """Ask the namespace server for namespaces and scratch mounts.

        Raises:
            OSError: nobody listens any more.
        """
        limits = self.spec.limits
        zygote.order_namespaces(
            messages.BuildNamespaces(self.number, self._cell_uid, limits.disk_mb, limits.inodes, limits.shm_mb)
        )

    def spawned(self, fds: list[int]) -> None:
        """Take the descriptors of process 1, the namespaces and the two scratch file systems."""
        self.pid_fd, self.init_pid = fds[0], pid_of(fds[0])
        self._namespaces, self.scratch = fds[1:-2], fds[1:][-2:]

    def pids(self) -> list[int]:
        """The cell is a child of the zygote; what it leaves behind is one of the run's process 1."""
        if self.init_pid < 0:
            return []
        below = processes.descendants(self.init_pid)
        if self.cell_pid > 0:
            below += [self.cell_pid, *processes.descendants(self.cell_pid)]
        return below

    def kernel_memory(self) -> int:
        """What waits in the sockets of the cell's network namespace, unless that is the host's."""
        return 0 if self.spec.network else accounting.sockets(self.cell_pid)

    def _signal_end(self) -> None:
        # the kernel kills a process namespace with its first process
        signal.pidfd_send_signal(self.pid_fd, signal.SIGKILL)

    def kill_hard(self) -> None:
        """Kill process by process, then process 1 once more."""
        processes.kill_below(self.init_pid)
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(self.pid_fd, signal.SIGKILL)

    @property
    def _cell_uid(self) -> int:
        return namespaces.INSIDE_UID + self.uid

    def _first_fds(self) -> list[int]:
        return self._namespaces

    def _close_first(self) -> None:
        for fd in self._namespaces:
            os.close(fd)
        self._namespaces = []
