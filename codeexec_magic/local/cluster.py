"""The embedded cluster as a kernel sees it: start or adopt it, look at it, stop it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from codeexec_magic.contract import QUEUES
from codeexec_magic.errors import ClusterStartFailed
from codeexec_magic.local import server
from codeexec_magic.local.directory import ClusterDirectory, State, born, tail

#: how many daemons one call starts before it gives up; the first may be killed by another process
STARTS: Final = 2
#: seconds a stop may take: the worker's grace, the server's, and a little
STOP_S: Final = 20.0
_POLL_S: Final = 0.01

Progress = Callable[[str], object]


@dataclass(frozen=True)
class Cluster:
    """A running embedded cluster."""

    broker_url: str
    result_backend: str
    pid: int  #: of the daemon
    directory: Path

    def logs(self) -> list[Path]:
        """The log files: daemon, server, worker."""
        return [self.directory / f"{name}.log" for name in ("daemon", "server", "worker")]


def find() -> Cluster | None:
    """The running cluster, or None. Never starts one.

    Raises:
        ClusterStartFailed: its folder is not ours alone.
    """
    home = ClusterDirectory.locate()
    if not home.exists():
        return None
    state = home.read()
    if state is None or not state.alive or state.stage == "stopping" or not server.ping(home.socket):
        return None
    return _cluster(home, state)


def ensure(progress: Progress | None = None, timeout: float = 30.0) -> Cluster:
    """The running cluster; starts it, or waits for a cluster that is starting, if need be.

    Args:
        progress: called with one line of text whenever there is something new to say.
        timeout: seconds until giving up.

    Raises:
        ServerNotFound: there is no server program.
        ClusterStartFailed: anything else; the message says what, and where the log is.
    """
    if not sys.platform.startswith("linux"):
        raise ClusterStartFailed("the embedded cluster needs Linux: set CELERY_BROKER_URL to use another one")
    home = ClusterDirectory.locate()
    if home.exists() and (cluster := _ready(home)):
        return cluster
    home.create()
    start = _Start(home, progress or _say_nothing, time.monotonic() + timeout)
    try:
        with home.lock("start", timeout):
            return start.run()
    except TimeoutError:
        raise ClusterStartFailed(
            f"another process has been starting the cluster in {home.path} for over {timeout:g} s"
        ) from None


def stop(wait: bool = True) -> bool:
    """Stop the cluster; cells that run get a few seconds, then they are queued again for the next start.

    Args:
        wait: return only when all its processes are gone.

    Returns:
        Whether there was one.
    """
    home = ClusterDirectory.locate()
    state = home.read() if home.exists() else None
    if state is None or not state.alive:
        return False
    _signal(state, signal.SIGTERM)
    deadline = time.monotonic() + STOP_S
    while wait and state.alive:
        if time.monotonic() > deadline:
            _signal(state, signal.SIGKILL)  # its children die with it
            deadline += STOP_S
        time.sleep(_POLL_S)
    return True


def status() -> dict[str, Any]:
    """What there is to say about the cluster: ``state`` is stopped, starting, ready or stopping."""
    home = ClusterDirectory.locate()
    state = home.read() if home.exists() else None
    shown: dict[str, Any] = {"state": "stopped", "directory": str(home.path), "queues": list(QUEUES)}
    if state is None:
        return shown
    if state.error:
        shown["error"] = state.error
    if not state.alive:
        return shown
    return {
        **shown,
        "state": state.stage,
        "broker_url": server.url(home.socket, 0),
        "result_backend": server.url(home.socket, 1),
        "server": state.server,
        "answers": server.ping(home.socket),
        "slots": state.slots,
        "daemon_pid": state.pid,
        "server_pid": state.server_pid,
        "worker_pid": state.worker_pid,
        "uptime_s": round(time.time() - state.since, 1),
        "stops_after_idle_s": state.idle_s,
    }


def logs(lines: int = 50) -> str:
    """The last lines of each log, under a heading each."""
    home = ClusterDirectory.locate()
    if not home.exists():
        return ""
    names = ("daemon", "server", "worker")
    return "\n".join(f"==> {home.log(name)} <==\n{tail(home.log(name), lines)}\n" for name in names)


class _Start:
    """One call that starts the cluster, under the start lock."""

    def __init__(self, home: ClusterDirectory, progress: Progress, deadline: float) -> None:
        self._home, self._progress, self._deadline = home, progress, deadline
        self._began = time.monotonic()
        self._line = ""
        self._starts = 0

    def run(self) -> Cluster:
        """Wait until the cluster is ready; start a daemon whenever there is none."""
        while True:
            if cluster := _ready(self._home):
                if self._line:
                    self._say(f"ready in {time.monotonic() - self._began:.1f} s", last=True)
                return cluster
            state = self._home.read()
            if state is None or not state.alive:
                self._start(state)
            else:
                self._say(_describe(state))
            if time.monotonic() > self._deadline:
                raise ClusterStartFailed(f"{self._missing(state)} in time; see {self._log(state)}")
            time.sleep(_POLL_S)

    def _start(self, before: State | None) -> None:
        if self._starts and before is not None and before.stage == "failed":
            raise ClusterStartFailed(f"{before.error}; see {self._log(before)}")
        if self._starts == STARTS:
            raise ClusterStartFailed(f"the daemon died; see {self._home.log('daemon')}")
        binary = server.find_binary()
        self._say(f"server {binary} ... worker ...")
        self._starts += 1
        with self._home.log("daemon").open("ab") as log:
            status = subprocess.run(
                [sys.executable, "-P", "-m", "codeexec_magic.local"],
                cwd="/",  # the notebook's folder may hold a redis.py
                env=_environment(self._home),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Jupyter interrupt goes to the kernel's process group
                check=False,
            ).returncode
        if status:
            last = tail(self._home.log("daemon"), 1).removeprefix("Error: ")
            raise ClusterStartFailed(f"{last or f'the daemon exited with status {status}'}")
        self._await_daemon()

    def _await_daemon(self) -> None:
        """Wait until the new daemon has written its state, or has ended."""
        while self._home.read() is None and time.monotonic() < self._deadline:
            with contextlib.suppress(TimeoutError), self._home.lock("daemon", 0):
                if self._home.read() is None:
                    last = tail(self._home.log("daemon"), 1).removeprefix("Error: ")
                    raise ClusterStartFailed(f"the daemon died at once: {last}")
            time.sleep(_POLL_S)

    def _say(self, what: str, last: bool = False) -> None:
        line = f"starting the embedded cluster: {what}" if not last else f"{self._line.rstrip(' .')} ... {what}"
        if line != self._line:
            self._line = line
            self._progress(line)

    def _missing(self, state: State | None) -> str:
        if state is None:
            return "the daemon did not start"
        if state.stage == "stopping":
            return "the last cluster did not end"
        return "the worker did not get ready" if state.answers else "the server did not answer"

    def _log(self, state: State | None) -> Path:
        if state is None or state.stage == "stopping":
            return self._home.log("daemon")
        return self._home.log("worker" if state.answers or "worker" in state.error else "server")


def _say_nothing(_line: str) -> None:
    pass


def _describe(state: State) -> str:
    if state.stage == "stopping":
        return "waiting for the last one to end ..."
    return f"server {state.server} {'ready' if state.answers else '...'}, worker ..."


def _ready(home: ClusterDirectory) -> Cluster | None:
    state = home.read()
    if state is None or state.stage != "ready" or not state.alive or not server.ping(home.socket):
        return None
    # the daemon takes a moment to notice a death
    if state.worker_pid is None or born(state.worker_pid) != state.worker_born:
        return None
    return _cluster(home, state)


def _cluster(home: ClusterDirectory, state: State) -> Cluster:
    return Cluster(server.url(home.socket, 0), server.url(home.socket, 1), state.pid, home.path)


def _signal(state: State, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(state.pid)
        try:
            if state.alive:  # checked while we hold the descriptor: the pid cannot be given to another process now
                signal.pidfd_send_signal(descriptor, number)
        finally:
            os.close(descriptor)


def _environment(home: ClusterDirectory, env: Mapping[str, str] | None = None) -> dict[str, str]:
    """The caller's environment without what belongs to the caller alone."""
    env = os.environ if env is None else env
    dropped = {"MPLBACKEND", "PYTHONSTARTUP", "PYTHONINSPECT", "PYTHONPATH"}
    kept = {
        name: value for name, value in env.items() if name not in dropped and not name.startswith(("JPY_", "PYDEV"))
    }
    path = [os.path.abspath(entry) for entry in env.get("PYTHONPATH", "").split(os.pathsep) if entry]  # noqa: PTH100
    if path := [entry for entry in path if not _shadows(Path(entry))]:
        kept["PYTHONPATH"] = os.pathsep.join(path)
    return {**kept, "CODEEXEC_HOME": str(home.path)}


def _shadows(folder: Path) -> bool:
    """Whether a module there would be taken for one of our packages."""
    own = Path(__file__).parents[2]
    return any(
        (folder / name).exists() for name in ("worker.py", "worker", "codeexec_magic", "celery.py", "redis.py")
    ) and (folder.resolve() != own)
