"""The warm process that cells are forked from: interpreter, IPython and the preload list, and nothing else.

It never holds a secret and never runs user code. One thread, one socket: the launcher asks, it forks.
"""

from __future__ import annotations

import abc
import errno
import os
import platform
import select
import signal
import socket
from typing import Final, NoReturn

from ..cell import guards, main
from ..cell.spawn import CELL_FDS, Spawn
from ..fastfork.tuning import tuning
from ..linux import namespaces
from ..protocol import messages
from . import preload

_MESSAGE: Final = 1 << 16


class Zygote(abc.ABC):
    """Loads once, then serves the launcher until the socket closes."""

    #: what it makes of an order
    spawn: type[Spawn]
    #: isolation level of its cells
    level: int

    def __init__(self, control: socket.socket, config: messages.ZygoteConfig, missing: list[str]) -> None:
        """Prepare, in the namespaces there are.

        Args:
            control: the launcher asks here.
            config: from the launcher.
            missing: why there are no namespaces; empty if there are.
        """
        self._control, self._config, self._missing = control, config, list(missing)
        self._poll = select.poll()
        self._tuning = tuning(enabled=config.fast_fork)
        self._readable: list[str] = []  #: what of the host a cell may read where it has no root of its own

    def load(self) -> messages.ZygoteReady:
        """Import what cells use, once, and get into the best shape to be forked from."""
        home = self._make_home()
        loaded = preload.load(self._config.preload, home)
        self._shell = loaded.shell
        self._readable = namespaces.readable_roots()
        self._settle()
        own_uid = self._own_uid()
        fingerprint = preload.fingerprint(loaded.modules)
        # nothing that is needed once only may come after this
        self._tuning.prepare(lambda out: self._rehearse(home, out))
        self._remove_home(home)
        return messages.ZygoteReady(
            level=self.level,
            missing=(*self._missing, *loaded.missing),
            preloaded=loaded.modules,
            environment=fingerprint,
            python=platform.python_version(),
            own_uid=own_uid,
            fast_fork=self._tuning.state,
        )

    def serve(self) -> NoReturn:
        """Answer the launcher until it is gone."""
        self._poll.register(self._control, select.POLLIN)
        while True:
            for fd, _ in self._poll.poll():
                if fd == self._control.fileno():
                    self._answer()
                else:
                    self._reap(fd)

    def _answer(self) -> None:
        data, fds, _, _ = socket.recv_fds(self._control, _MESSAGE, 16)
        if not data:
            os._exit(0)  # the launcher is gone
        order = messages.decode(data)
        assert isinstance(order, messages.ForkCell)
        try:
            spawn = self._spawn(order, fds)
            guards.system_call_filter(spawn)  # made here it is made once: the fork finds it done
            pid = self._fork(spawn)
        except OSError as err:
            self._send(messages.Refused(order.number, str(err)))
            pid = -1
        if pid == 0:
            signal.set_wakeup_fd(-1)
            if not spawn.weakening.fds:
                self._control.close()
            self._become(spawn)
        for fd in fds:
            os.close(fd)
        if pid > 0:
            child = os.pidfd_open(pid)
            self._send(messages.Forked(order.number), child)
            self._forked(child, pid, order.number)

    def _spawn(self, order: messages.ForkCell, fds: list[int]) -> Spawn:
        names = (*self.spawn.first_fds, *CELL_FDS)
        if len(fds) < len(names):
            raise OSError(errno.EMFILE, "descriptors were lost on the way")
        return self.spawn(
            order=order,
            fds=dict(zip(names, fds, strict=False)),
            groups=fds[len(names) :],
            weakening=self._config.weakening,
            readable=self._readable,
            shell=self._shell,
            tuning=self._tuning,
            supervised=order.supervised,
        )

    def _rehearse(self, home: str, out: int) -> int:
        """Do what a cell does, with nobody listening; returns where the descriptor ``out`` is in the end."""
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        first, home = self._rehearsal_place(home)
        order = messages.ForkCell(
            0, self._rehearsal_uid, network=False, home=home, unseen_memory=False, supervised=False
        )
        return main.rehearse(self._spawn(order, [*first, out, null, null, null]))

    def _send(self, message: messages.Message, *fds: int) -> None:
        socket.send_fds(self._control, [messages.encode(message)], fds)

    # -- what depends on the namespaces --------------------------------------------------------------------------

    @abc.abstractmethod
    def _make_home(self) -> str:
        """A folder for what the libraries write while they are loaded."""

    def _remove_home(self, home: str) -> None:  # noqa: B027 - a hook
        """Remove that folder, if it is on the host."""

    def _settle(self) -> None:  # noqa: B027 - a hook
        """Have around the zygote what is the same for all of its cells."""

    @abc.abstractmethod
    def _own_uid(self) -> bool:
        """Whether each cell can have a user of its own."""

    #: the user of a cell that only learns what cells touch
    _rehearsal_uid: int

    @abc.abstractmethod
    def _rehearsal_place(self, home: str) -> tuple[list[int], str]:
        """Descriptors as :attr:`Spawn.first_fds` names them, and a home folder, for a rehearsal."""

    @abc.abstractmethod
    def _fork(self, spawn: Spawn) -> int:
        """Fork; returns as :func:`os.fork` does."""

    @abc.abstractmethod
    def _become(self, spawn: Spawn) -> NoReturn:
        """Be the forked process."""

    @abc.abstractmethod
    def _forked(self, child: int, pid: int, number: int) -> None:
        """See the forked process to its end.

        Args:
            child: its descriptor, now owned here.
            pid: its process id.
            number: of its process tree.
        """

    @abc.abstractmethod
    def _reap(self, fd: int) -> None:
        """A descriptor that was registered has something to tell."""
