"""The launcher's end of the zygote: starts it, orders processes from it, ends it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from typing import Final

from .. import spawn
from ..protocol import messages
from . import uid_map

_START_S: Final = 120.0
#: how long a zygote without namespaces may take to end (seconds)
_END_S: Final = 2.0
_MESSAGE: Final = 1 << 16


class ZygoteFailed(Exception):
    """The zygote did not start."""


class ZygoteClient:
    """One zygote."""

    def __init__(self, python: str) -> None:
        """Prepare.

        Args:
            python: interpreter of the cells.
        """
        self._python = python
        self._socket: socket.socket | None = None
        self._pid_fd = -1
        self.namespace_server: socket.socket | None = None  #: to the namespace server, if there is one
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, config: messages.ZygoteConfig, missing: tuple[str, ...] = ()) -> messages.ZygoteReady:
        """Start the zygote; returns what it says about itself.

        Args:
            config: of the zygote.
            missing: what earlier tries lacked.

        Raises:
            ZygoteFailed: it did not start; the text says why.
        """
        near = self._execute(config)
        process = self._process
        assert process is not None
        while True:
            data, fds, _, _ = socket.recv_fds(near, _MESSAGE, 1)
            if not data:
                near.close()
                raise ZygoteFailed(f"the interpreter {self._python} did not start: {_last_words(process)}")
            message = messages.decode(data)
            self._assist(message, near, fds)
            if isinstance(message, messages.NoNamespaces):
                near.close()
                process.wait()
                self._pid_fd = -1
                return self.start(config._replace(level=1), (*missing, message.text))
            elif isinstance(message, messages.Broken):
                raise ZygoteFailed(message.text)
            elif isinstance(message, messages.ZygoteReady):
                near.settimeout(None)
                if process.stderr is not None:
                    process.stderr.close()
                if self._pid_fd >= 0:
                    process.wait()  # only the process 1 that it forked goes on
                self._socket = near
                return message._replace(missing=(*missing, *message.missing))

    def _assist(self, message: messages.Message, near: socket.socket, fds: list[int]) -> None:
        """Take a step of the zygote's way into its namespaces."""
        assert self._process is not None
        if isinstance(message, messages.AskUserMap):
            near.send(messages.encode(messages.UserMapWritten(uid_map.write_maps(self._process.pid))))
        elif isinstance(message, messages.EnteredNamespaces):
            self._pid_fd = fds[0]
        elif isinstance(message, messages.ServesNamespaces):
            self.namespace_server = socket.socket(fileno=fds[0])

    def _execute(self, config: messages.ZygoteConfig) -> socket.socket:
        self._process, near = spawn.execute(
            lambda fd: spawn.zygote_command(self._python, fd, config), config.weakening, stderr=subprocess.PIPE
        )
        near.settimeout(_START_S)
        return near

    @property
    def pid(self) -> int:
        """Process id of the zygote, where it is our own child."""
        assert self._process is not None
        return self._process.pid

    @property
    def sockets(self) -> list[socket.socket]:
        """What answers come on."""
        assert self._socket is not None
        return [self._socket, self.namespace_server] if self.namespace_server else [self._socket]

    def order_namespaces(self, message: messages.BuildNamespaces) -> None:
        """Ask for the namespaces of a run.

        Raises:
            OSError: the namespace server does not listen any more.
        """
        assert self.namespace_server is not None
        self.namespace_server.send(messages.encode(message))

    def order(self, message: messages.ForkCell, fds: list[int]) -> None:
        """Ask the zygote for a process.

        Args:
            message: what the process is to be.
            fds: descriptors that it is to have.

        Raises:
            OSError: the zygote does not listen any more.
        """
        assert self._socket is not None
        socket.send_fds(self._socket, [messages.encode(message)], fds)

    @staticmethod
    def receive(sock: socket.socket) -> tuple[messages.Message | None, list[int]]:
        """An answer and its descriptors; no answer when the other end is dead."""
        try:
            data, fds, _, _ = socket.recv_fds(sock, _MESSAGE, 16)
        except OSError:
            return None, []
        return (messages.decode(data), list(fds)) if data else (None, [])

    def close(self) -> None:
        """End it, and with it, as process 1 of a namespace, every run."""
        for sock in (self._socket, self.namespace_server):
            if sock is not None:
                sock.close()
        if self._pid_fd >= 0:
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(self._pid_fd, signal.SIGKILL)
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_S)
            if self._process.stderr is not None:
                self._process.stderr.close()


def _last_words(process: subprocess.Popen[bytes]) -> str:
    assert process.stderr is not None
    os.set_blocking(process.stderr.fileno(), False)
    return (process.stderr.read() or b"").decode("utf-8", "replace").strip()[-2000:]
