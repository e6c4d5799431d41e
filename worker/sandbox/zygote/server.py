"""The warm process that runs are forked from: interpreter, IPython and the preload list, and nothing else.

It never holds a secret and never runs user code. One thread, one socket: the launcher asks, it forks.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import hashlib
import importlib
import json
import os
import platform
import select
import signal
import socket
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any, Final, NoReturn

from ..cell import guards, main, parent, rehearsal
from ..cell.shell import make_shell
from ..cell.spawn import CELL_FDS, Spawn
from ..fastfork import memfd_heap, memory_layout
from ..fastfork.prefault import Pages, learn
from ..linux import namespaces, processes, syscalls
from . import namespace_server

_MESSAGE: Final = 1 << 16


class Zygote:
    """Loads once, then serves the launcher until the socket closes."""

    def __init__(self, control: socket.socket, config: dict[str, Any], missing: list[str]) -> None:
        """Begin, in the namespaces there are.

        Args:
            control: the launcher asks here.
            config: ``preload``, and ``mark`` for the names of folders.
            missing: why there are no namespaces; empty if there are.
        """
        self._control, self._config = control, config
        self._level = 1 if missing else 2
        self._missing = list(missing)
        self._shell: Any = None
        self._filling: list[bytes] = []  #: between the objects of the libraries
        self._pages, self._more_pages = Pages(), Pages()
        self.facts: dict[str, Any] = {}  #: what the launcher is told
        self._poll = select.poll()
        self._cells: dict[int, tuple[int, int]] = {}  #: process id and run, by the descriptor that tells of the end
        self._readable: list[str] = []
        self._pid_namespace = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC) if not missing else -1
        self._root = os.getuid() == 0  #: where there are no namespaces

    def serve(self) -> NoReturn:
        """Answer the launcher until it is gone."""
        self._poll.register(self._control, select.POLLIN)
        wake = -1
        if self._level < 2:
            # orphans of runs come here, too, and there is no descriptor for those
            wake, far = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            signal.signal(signal.SIGCHLD, lambda *_: None)
            signal.set_wakeup_fd(far, warn_on_full_buffer=False)
            self._poll.register(wake, select.POLLIN)
        while True:
            for fd, _ in self._poll.poll():
                if fd == self._control.fileno():
                    self._answer()
                elif fd == wake:
                    os.read(wake, 512)
                    processes.reap()  # an init, too: of its run it tells itself
                else:
                    self._reap_cell(fd)

    def _reap_cell(self, fd: int) -> None:
        pid, number = self._cells[fd]
        message: dict[str, Any] = {"op": "ended", "id": number, "status": None, "most": 0}
        with contextlib.suppress(ChildProcessError):
            ended, status, usage = os.wait4(pid, os.WNOHANG)
            if not ended:
                return  # only its first thread, perhaps: whatever a cell does, nobody waits for it here
            message |= {"status": status, "most": usage.ru_maxrss << 10}
        del self._cells[fd]
        self._poll.unregister(fd)
        os.close(fd)
        self._control.send(json.dumps(message).encode())

    def load(self) -> None:
        """Import what cells use, once, and get into the best shape to be forked from."""
        home = namespaces.AREA
        if self._level < 2:
            home = tempfile.mkdtemp(prefix=f"codeexec-{self._config['mark']}-zygote-")
        self._import(home)
        if self._level >= 2:
            keep = "env" in self._config["guards_off"]
            main.settle(self._shell, namespaces.HOME, "/tmp", keep_environment=keep)  # noqa: S108
        self.facts = self._describe()
        self._arrange(home)
        if self._level < 2:
            import shutil

            os.chdir("/")
            shutil.rmtree(home, ignore_errors=True)

    def _import(self, home: str) -> None:
        os.environ.update({**main.THREADS, **main.KERNEL, "HOME": home, "TMPDIR": home})
        os.chdir(home)
        self._shell = make_shell(str(Path(home, ".ipython")))
        self._preloaded = []
        for name in self._config["preload"]:
            try:
                with self._shell.builtin_trap:  # they ask for get_ipython() to learn whether this is a notebook
                    importlib.import_module(name)
                self._preloaded.append(name)
            except ImportError as err:
                if not str(getattr(err, "name", "")).startswith(name.partition(".")[0]):
                    self._missing.append(f"preload {name}: {err}")
        if "matplotlib.pyplot" in sys.modules:
            _figures(self._shell)
        rehearsal.rehearse(self._shell)
        tempfile.tempdir = None
        self._readable = namespaces.readable_roots()

    def _arrange(self, home: str) -> None:
        """Put the memory in order; nothing that is needed once only may come after."""
        gc.collect()
        self._filling = memory_layout.fill_holes()
        objects = memfd_heap.objects()
        gc.freeze()
        memory_layout.merge_mappings()
        memfd_heap.move(objects)
        copied, _ = learn(partial(self._profiling_fork, home, 2))
        self._pages = Pages(copied)
        self._pages.inherit()
        # with those there, others need not be mapped; what this process maps of the heap is inherited, too
        _, mapped = learn(partial(self._profiling_fork, home, 2))
        heap, files = memfd_heap.split(mapped)
        Pages((), heap).take()
        self._pages.map(files)
        known = set(copied)
        copied, mapped = learn(partial(self._profiling_fork, home, 3))
        self._more_pages = Pages([page for page in copied if page not in known], mapped)

    def _profiling_fork(self, home: str, cells: int, out: int) -> int:
        """Live like a cell with nobody listening; returns where the descriptor ``out`` is in the end."""
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        fds = [out, null, null, null]
        if self._level >= 2:
            syscalls.unshare(syscalls.CLONE_NEWNS)
            fds = [self._pid_namespace, os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC), *fds]
        else:
            home = tempfile.mkdtemp(dir=home)
            fds = [null, *fds]
        request = {
            "uid": namespaces.INSIDE_UID if self._level >= 2 else 0,
            "limits": {},
            "network": False,
            "home": home,
            "unseen_memory": False,
            "supervised": False,
            "guards_off": self._config["guards_off"],
        }
        return main.profile(self._spawn(request, fds), cells)

    def _describe(self) -> dict[str, Any]:
        """What the launcher is told."""
        from importlib.metadata import distributions

        names = sorted({f"{d.metadata['Name']}=={d.version}" for d in distributions()})
        facts = [sys.version, platform.platform(), *self._preloaded, *names]
        return {
            "level": self._level,
            "missing": self._missing,
            "preloaded": self._preloaded,
            "environment": hashlib.sha256("\n".join(facts).encode()).hexdigest(),
            "python": platform.python_version(),
            "own_uid": self._level >= 2 or self._reachable(),
        }

    def _reachable(self) -> bool:
        """Whether another user could load this interpreter's libraries; root's own folders keep others out."""
        if not self._root:
            return False
        pid = os.fork()
        if pid == 0:
            os.setresuid(65534, 65534, 65534)
            paths = [os.__file__, sys.executable, *(root for root in self._readable)]
            os._exit(0 if all(os.access(path, os.R_OK) for path in paths) else 1)
        reachable = os.waitpid(pid, 0)[1] == 0
        if not reachable:
            self._missing.append("own uid: the interpreter lies below a folder that only root may enter")
        return reachable

    def _answer(self) -> None:
        data, fds, _, _ = socket.recv_fds(self._control, _MESSAGE, 16)
        if not data:
            os._exit(0)  # the launcher is gone
        request = json.loads(data)
        try:
            spawn = self._spawn(request, fds)
            guards.system_call_filter(spawn)  # made here it is made once: the fork finds it done
            if spawn.namespaces:
                syscalls.setns(spawn.namespaces["pid"], syscalls.CLONE_NEWPID)
            pid = os.fork()
        except OSError as err:
            self._control.send(json.dumps({"op": "refused", "id": request["id"], "text": str(err)}).encode())
            pid = -1
        if pid == 0:
            self._become(spawn)
        for fd in fds:
            os.close(fd)
        if self._level >= 2:
            syscalls.setns(self._pid_namespace, syscalls.CLONE_NEWPID)
        if pid > 0:
            fd = os.pidfd_open(pid)
            op = "forked" if spawn.namespaces else "spawned"
            socket.send_fds(self._control, [json.dumps({"op": op, "id": request["id"]}).encode()], [fd])
            if spawn.namespaces:
                self._cells[fd] = pid, request["id"]
                self._poll.register(fd, select.POLLIN)
            else:
                os.close(fd)

    def _spawn(self, request: dict[str, Any], fds: list[int]) -> Spawn:
        names = (*(namespace_server.NAMESPACES if self._level >= 2 else ("control",)), *CELL_FDS)
        if len(fds) < len(names):
            raise OSError(errno.EMFILE, "descriptors were lost on the way")
        named = dict(zip(names, fds, strict=False))
        return Spawn(
            level=self._level,
            namespaces={name: named.pop(name) for name in namespace_server.NAMESPACES if name in named},
            fds=named,
            groups=fds[len(names) :],
            uid=request["uid"],
            limits=request["limits"],
            network=request["network"],
            home=request["home"] or namespaces.HOME,
            unseen_memory=request["unseen_memory"],
            supervised=request["supervised"],
            guards_off=tuple(request["guards_off"]),
            readable=self._readable,
            shell=self._shell,
            pages=self._pages,
            more_pages=self._more_pages,
        )

    def _become(self, spawn: Spawn) -> NoReturn:
        signal.set_wakeup_fd(-1)
        if "fds" not in spawn.guards_off:
            self._control.close()
        if spawn.namespaces:
            main.main(spawn)
        parent.main(spawn)


def _figures(shell: Any) -> None:
    """Show open figures at the end of a cell, as a notebook does."""
    from matplotlib import pyplot

    # IPython itself depends on this package, so it is always there
    from matplotlib_inline.backend_inline import configure_inline_support, flush_figures

    pyplot.switch_backend("module://matplotlib_inline.backend_inline")
    configure_inline_support(shell, "module://matplotlib_inline.backend_inline")  # type: ignore[no-untyped-call]
    if flush_figures not in shell.events.callbacks["post_execute"]:
        shell.events.register("post_execute", flush_figures)
