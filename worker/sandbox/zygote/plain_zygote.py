"""The zygote where there are no namespaces: its children are the parents of cells."""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
import tempfile
from typing import Final, NoReturn

from ..cell import parent
from ..cell.spawn import PlainSpawn, Spawn
from ..linux import processes
from .server import Zygote

#: a user that owns nothing
_NOBODY: Final = 65534


class PlainZygote(Zygote):
    """Forks the parents of cells; collects orphans, for which there is no descriptor."""

    spawn, level = PlainSpawn, 1
    _rehearsal_uid = 0

    def _make_home(self) -> str:
        return tempfile.mkdtemp(prefix=f"codeexec-{self._config.launcher_id}-zygote-")

    def _remove_home(self, home: str) -> None:
        os.chdir("/")
        shutil.rmtree(home, ignore_errors=True)

    def _own_uid(self) -> bool:
        """Whether another user could load this interpreter's libraries; root's own folders keep others out."""
        if os.getuid() != 0:
            return False
        pid = os.fork()
        if pid == 0:
            os.setresuid(_NOBODY, _NOBODY, _NOBODY)
            paths = [os.__file__, sys.executable, *self._readable]
            os._exit(0 if all(os.access(path, os.R_OK) for path in paths) else 1)
        reachable = os.waitpid(pid, 0)[1] == 0
        if not reachable:
            self._missing.append("own uid: the interpreter lies below a folder that only root may enter")
        return reachable

    def serve(self) -> NoReturn:
        """Answer the launcher until it is gone."""
        wake, far = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(far, warn_on_full_buffer=False)
        self._poll.register(wake, select.POLLIN)
        super().serve()

    def _rehearsal_place(self, home: str) -> tuple[list[int], str]:
        return [os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)], tempfile.mkdtemp(dir=home)

    def _fork(self, spawn: Spawn) -> int:
        del spawn
        return os.fork()

    def _become(self, spawn: Spawn) -> NoReturn:
        parent.main(spawn)

    def _forked(self, child: int, pid: int, number: int) -> None:
        del pid, number
        os.close(child)

    def _reap(self, fd: int) -> None:
        os.read(fd, 512)
        processes.reap()  # the parents of cells, too: they report on their cells themselves
