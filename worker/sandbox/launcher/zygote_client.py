"""The launcher's end of the zygote: starts it, orders processes from it, ends it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
from typing import Any, Final

from .. import spawn
from ..linux.launcher_id import mark
from . import uid_map

_START_S: Final = 120.0
_MESSAGE: Final = 1 << 16


class ZygoteFailed(Exception):
    """The zygote did not start."""


class ZygoteClient:
    """One zygote."""

    def __init__(self, python: str, guards_off: list[str]) -> None:
        self._python, self._guards_off = python, guards_off
        self._socket: socket.socket | None = None
        self._pid_fd = -1
        self.namespace_server: socket.socket | None = None  #: builds sets of namespaces, where there are namespaces
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, config: dict[str, Any], missing: tuple[str, ...] = ()) -> dict[str, Any]:
        """Start the zygote; returns what it says about itself.

        Args:
            config: ``level`` to try, ``preload``, ``network``.
            missing: what earlier tries lacked.

        Raises:
            ZygoteFailed: it did not start; the text says why.
        """
        near = self._execute({**config, "mark": mark()})
        process = self._process
        assert process is not None
        while True:
            data, fds, _, _ = socket.recv_fds(near, _MESSAGE, 1)
            if not data:
                raise ZygoteFailed(f"the interpreter {self._python} did not start: {_last_words(process)}")
            message = json.loads(data)
            if message["op"] in ("map", "child", "namespace_server"):
                self._assist(message["op"], near, fds)
            elif message["op"] == "retry":
                near.close()
                process.wait()
                self._pid_fd = -1
                return self.start({**config, "level": 1}, (*missing, message["text"]))
            elif message["op"] == "broken":
                raise ZygoteFailed(message["text"])
            elif message["op"] == "ready":
                near.settimeout(None)
                if process.stderr is not None:
                    process.stderr.close()
                if self._pid_fd >= 0:
                    process.wait()  # only the process 1 that it forked goes on
                self._socket = near
                return {**message, "missing": [*missing, *message["missing"]]}

    def _assist(self, step: str, near: socket.socket, fds: list[int]) -> None:
        assert self._process is not None
        if step == "map":
            near.send(b"mapped" if uid_map.write_maps(self._process.pid) else b"refused")
        elif step == "child":
            self._pid_fd = fds[0]
        else:
            self.namespace_server = socket.socket(fileno=fds[0])

    def _execute(self, config: dict[str, Any]) -> socket.socket:
        self._process, near = spawn.execute(
            lambda fd: spawn.zygote_command(self._python, fd, config), self._guards_off, stderr=subprocess.PIPE
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

    def order_house(self, message: dict[str, Any]) -> None:
        """Ask for the namespaces of a run.

        Raises:
            OSError: the namespace_server does not listen any more.
        """
        assert self.namespace_server is not None
        self.namespace_server.send(json.dumps(message).encode())

    def order(self, message: dict[str, Any], fds: list[int]) -> None:
        """Ask the zygote for a process.

        Raises:
            OSError: the zygote does not listen any more.
        """
        assert self._socket is not None
        socket.send_fds(self._socket, [json.dumps(message).encode()], fds)

    @staticmethod
    def receive(sock: socket.socket) -> tuple[dict[str, Any] | None, list[int]]:
        """An answer; nothing when the other end is dead."""
        try:
            data, fds, _, _ = socket.recv_fds(sock, _MESSAGE, 16)
        except OSError:
            return None, []
        return (json.loads(data), list(fds)) if data else (None, [])

    def close(self) -> None:
        """End it, and with it, as process 1 of a namespace, every run."""
        for sock in (self._socket, self.namespace_server):
            if sock is not None:
                sock.close()
        if self._pid_fd >= 0:
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(self._pid_fd, signal.SIGKILL)


def _last_words(process: subprocess.Popen[bytes]) -> str:
    assert process.stderr is not None
    os.set_blocking(process.stderr.fileno(), False)
    return (process.stderr.read() or b"").decode("utf-8", "replace").strip()[-2000:]
