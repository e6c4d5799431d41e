"""The worker's end of one launcher: starts the process, hands it cells, ends it."""

from __future__ import annotations

import os
import select
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Final

from codeexec_magic.errors import SandboxBroken

from . import cleanup, spawn
from .linux.launcher_id import mark
from .protocol import messages

_START_S: Final = 150.0
_END_S: Final = 8.0
_MESSAGE: Final = 1 << 16
#: bytes of a request that fit in one message
AT_ONCE: Final = 16 << 10


class Connection:
    """One launcher process and the socket to it."""

    def __init__(self, config: messages.LauncherConfig) -> None:
        """Start the process; its imports go on while the caller does its own.

        Args:
            config: of the launcher.

        Raises:
            SandboxBroken: there is no such interpreter.
        """
        python = shutil.which(config.python)
        if python is None:
            raise SandboxBroken(f"the interpreter {config.python!r} does not exist or cannot be executed")
        config = config._replace(python=python)
        self._process, self._control = spawn.execute(
            lambda fd: spawn.launcher_command(sys.executable, fd, config), config.weakening
        )
        self._mark = mark(self._process.pid)
        fd = os.pidfd_open(self._process.pid)  # now, while the number is surely this process's
        self._sweeper = threading.Thread(target=self._sweep, args=(fd,), name="launcher-sweep", daemon=True)
        self._sweeper.start()
        self.greeting: messages.LauncherReady | None = None  #: None until the launcher is ready

    @property
    def alive(self) -> bool:
        """Whether the launcher runs."""
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        """The launcher's process id."""
        return self._process.pid

    def greet(self) -> messages.LauncherReady:
        """Wait until the launcher is ready; returns what it says of itself.

        Raises:
            SandboxBroken: it did not start; the text says why.
        """
        self._control.settimeout(_START_S)
        try:
            data = self._control.recv(_MESSAGE)
            message = messages.decode(data) if data else messages.Broken("the launcher died at its start")
        except (OSError, messages.BadMessage) as err:
            message = messages.Broken(f"no answer: {err}")
        if not isinstance(message, messages.LauncherReady):
            why = message.text if isinstance(message, messages.Broken) else f"unexpected {type(message).__name__}"
            raise SandboxBroken(f"the sandbox did not start: {why.strip()}")
        self._control.settimeout(None)
        self.greeting = message
        return message

    def open_run(self, start: bytes, fds: Sequence[int] = ()) -> socket.socket:
        """A socket on which the launcher takes one request.

        Args:
            start: of the request's frame, at most :data:`AT_ONCE` bytes: comes with the socket.
            fds: descriptors that the cell needs; they stay open here.

        Raises:
            OSError: the launcher is gone.
        """
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with far:
            try:
                socket.send_fds(self._control, [start], [far.fileno(), *fds])
            except OSError:
                near.close()
                raise
        return near

    def close(self) -> None:
        """End the launcher, and with it everything it started; returns when nothing of it is left."""
        self._control.close()
        try:
            self._process.wait(timeout=_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._sweeper.join()

    def _sweep(self, fd: int) -> None:
        # at once, not when the next cell comes: a killed launcher must leave nothing, and the next may come much later
        ended = select.poll()
        try:
            ended.register(fd, select.POLLIN)
            ended.poll()
        finally:
            os.close(fd)
        cleanup.clear(self._mark)
