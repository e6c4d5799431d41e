"""Process 1 of the zygote's namespaces: small, so that its work for every run costs next to nothing.

It builds the namespaces and scratch mounts of each run and forks that run's own process 1, which only collects orphans.
The zygote proper, with all its libraries, is its child. When either ends, both end, and every run with them.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
from typing import Final, NoReturn

from ..linux import namespaces, processes, syscalls
from ..protocol import messages

_MESSAGE: Final = 1 << 16
#: those built for each run: the zygote's fork enters the namespace of processes, the cell that of mounts
NAMESPACES: Final = ("pid", "mnt")


class NamespaceServer:
    """Builds the namespaces of a run whenever the launcher asks."""

    def __init__(self, control: socket.socket, zygote: int) -> None:
        """Begin.

        Args:
            control: the launcher asks here.
            zygote: process id of the child that must live.
        """
        self._control, self._zygote = control, os.pidfd_open(zygote)
        self._hidden = namespaces.roots_below_tmp()
        self._home = [_namespace(name) for name in NAMESPACES]
        self._poll = select.poll()

    def serve(self) -> NoReturn:
        """Serve until launcher or zygote is gone."""
        # the cell sees, in /proc, the network of its process 1, which inherits ours: it must not be the host's
        syscalls.unshare(syscalls.CLONE_NEWNET | syscalls.CLONE_NEWUTS | syscalls.CLONE_NEWCGROUP)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})  # as the processes 1 of runs need it
        self._poll.register(self._control, select.POLLIN)
        self._poll.register(self._zygote, select.POLLIN)
        gc.freeze()
        while True:
            for fd, _ in self._poll.poll():
                if fd == self._zygote:
                    os._exit(1)
                elif fd == self._control.fileno():
                    self._answer()
                else:
                    self._poll.unregister(fd)  # process 1 of a run has ended
                    os.close(fd)
                    processes.reap()

    def _answer(self) -> None:
        data = self._control.recv(_MESSAGE)
        if not data:
            os._exit(0)
        order = messages.decode(data)
        assert isinstance(order, messages.BuildNamespaces)
        fds: list[int] = []
        answer: messages.Message
        try:
            fds = self._build(order)
            answer = messages.NamespacesBuilt(order.number)
        except OSError as err:
            answer = messages.Refused(order.number, str(err))
        self._return()
        socket.send_fds(self._control, [messages.encode(answer)], fds)
        for fd in fds[1:]:
            os.close(fd)

    def _build(self, order: messages.BuildNamespaces) -> list[int]:
        """Descriptors of the run's process 1, its namespaces and its scratch mounts, in this order."""
        scratch = namespaces.build_namespaces(
            order.uid, self._hidden, disk_mb=order.disk_mb, inodes=order.inodes, shm_mb=order.shm_mb
        )
        try:
            pid = os.fork()
        except OSError:
            for fd in scratch:
                os.close(fd)
            raise
        if pid == 0:
            _collect_orphans()
        fds = list(scratch)
        try:
            fds[:0] = [os.pidfd_open(pid)]
            for place, name in enumerate(NAMESPACES, 1):
                fds.insert(place, _namespace("pid_for_children" if name == "pid" else name))
        except OSError:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            for fd in fds:
                os.close(fd)
            raise
        self._poll.register(fds[0], select.POLLIN)
        return fds

    def _return(self) -> None:
        for fd in self._home:
            syscalls.setns(fd, 0)


def _namespace(name: str) -> int:
    return os.open(f"/proc/self/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)


def _collect_orphans() -> NoReturn:
    """Be process 1 of a run until it is killed: what the cell leaves behind becomes its child, and ends here.

    A process whose children nobody waits for loses the processor time they used, which counts for the cell.
    """
    try:
        syscalls.close_fds(set())
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
        syscalls.drop_capabilities(bounding=False)  # it executes nothing
        while True:
            try:
                os.wait()
            except ChildProcessError:
                signal.sigwait({signal.SIGCHLD})
    finally:
        os._exit(1)
