"""Process 1 of the zygote's namespaces: small, so that its work for every run costs next to nothing.

It builds the namespaces and scratch mounts of each run and forks that run's own process 1, which only collects orphans.
The zygote proper, with all its libraries, is its child. When either ends, both end, and every run with them.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
from typing import Any, Final, NoReturn

from ..linux import namespaces, processes, syscalls

_MESSAGE: Final = 1 << 16
#: what a namespaces consists of: the zygote's fork enters the namespace of processes, the cell that of mounts
NAMESPACES: Final = ("pid", "mnt")


class NamespaceServer:
    """Builds a namespaces whenever the launcher asks."""

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
        # process 1 of a namespaces shows its network to the cell, whoever owns it: it must not be the host's
        syscalls.unshare(syscalls.CLONE_NEWNET | syscalls.CLONE_NEWUTS | syscalls.CLONE_NEWCGROUP)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})  # as the sets of namespaces' own need it
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
                    self._poll.unregister(fd)  # the first process of a namespaces, which is no more
                    os.close(fd)
                    processes.reap()

    def _answer(self) -> None:
        data = self._control.recv(_MESSAGE)
        if not data:
            os._exit(0)
        request = json.loads(data)
        fds: list[int] = []
        try:
            fds = self._build(request)
            told, text = "spawned", ""
        except OSError as err:
            told, text = "refused", str(err)
        self._return()
        message = json.dumps({"op": told, "id": request["id"], "text": text}).encode()
        socket.send_fds(self._control, [message], fds)
        for fd in fds[1:]:
            os.close(fd)

    def _build(self, request: dict[str, Any]) -> list[int]:
        """Descriptors of the namespaces's process 1, its namespaces and its scratch mounts, in this order."""
        scratch = namespaces.build_house(request["limits"], request["uid"], self._hidden)
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
