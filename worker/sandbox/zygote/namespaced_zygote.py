"""The zygote where there are namespaces: cells are its children, in process namespaces that others have built."""

from __future__ import annotations

import contextlib
import os
import select
import socket
from typing import NoReturn

from ..cell import main
from ..cell.spawn import NamespacedSpawn, Spawn
from ..linux import namespaces, syscalls
from ..protocol import messages
from .server import Zygote


class NamespacedZygote(Zygote):
    """Forks cells into process namespaces; each is waited for here."""

    spawn, level = NamespacedSpawn, 2
    _rehearsal_uid = namespaces.INSIDE_UID

    def __init__(self, control: socket.socket, config: messages.ZygoteConfig, missing: list[str]) -> None:
        """Prepare."""
        super().__init__(control, config, missing)
        self._cells: dict[int, tuple[int, int]] = {}  #: process id and number of the tree, by process descriptor
        self._pid_namespace = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)

    def _make_home(self) -> str:
        return namespaces.AREA

    def _settle(self) -> None:
        main.settle(self._shell, namespaces.HOME, "/tmp", keep_environment=self._config.weakening.env)  # noqa: S108

    def _own_uid(self) -> bool:
        return True

    def _rehearsal_place(self, home: str) -> tuple[list[int], str]:
        syscalls.unshare(syscalls.CLONE_NEWNS)
        return [self._pid_namespace, os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)], home

    def _fork(self, spawn: Spawn) -> int:
        syscalls.setns(spawn.fds["pid"], syscalls.CLONE_NEWPID)
        pid = -1
        try:
            pid = os.fork()
        finally:
            if pid != 0:
                syscalls.setns(self._pid_namespace, syscalls.CLONE_NEWPID)
        return pid

    def _become(self, spawn: Spawn) -> NoReturn:
        main.main(spawn)

    def _forked(self, child: int, pid: int, number: int) -> None:
        self._cells[child] = pid, number
        self._poll.register(child, select.POLLIN)

    def _reap(self, fd: int) -> None:
        pid, number = self._cells[fd]
        message = messages.CellEnded(number, None, 0)
        with contextlib.suppress(ChildProcessError):
            ended, status, usage = os.wait4(pid, os.WNOHANG)
            if not ended:
                return  # only its first thread, perhaps: whatever a cell does, nobody waits for it here
            message = messages.CellEnded(number, status, usage.ru_maxrss << 10)
        del self._cells[fd]
        self._poll.unregister(fd)
        os.close(fd)
        self._send(message)
