"""Keeps a worker alive: starts it, starts it again after each exit that was not asked for, and ends with its parent.

A Celery worker's main process can die of a lost broker connection alone, so every worker needs this
supervisor or a similar one (systemd, Kubernetes).
"""

from __future__ import annotations

import ctypes
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import IO, Final

log = logging.getLogger("codeexec.supervisor")

#: seconds before the first, second, ... start in a row; the last one repeats
PAUSES: Final = (0.0, 0.2, 0.5, 1.0, 2.0)
#: a process that lived this long was fine: the next pause is the first one again
SETTLED_S: Final = 10.0
#: variable that tells a worker whose successor it is: one supervisor's workers never run side by side
LINEAGE: Final = "CODEEXEC_LINEAGE"
#: variable with the number of this start within the lineage
LINEAGE_START: Final = "CODEEXEC_LINEAGE_START"
_PR_SET_PDEATHSIG: Final = 1


class Signals:
    """Turns signals into data for a loop that waits, so that no handler runs in the middle of something.

    Args:
        numbers: what to catch; SIGCHLD always comes on top.
    """

    def __init__(self, *numbers: int) -> None:
        self._numbers = (signal.SIGCHLD, *numbers)
        self._before: dict[int, object] = {}
        self._reader, self._writer = socket.socketpair()

    def __enter__(self) -> Signals:
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in self._numbers:
            # without a Python-level handler the interpreter writes nothing to the wake-up descriptor
            self._before[number] = signal.signal(number, lambda *_: None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what signal() gave us
        signal.set_wakeup_fd(-1)
        self._reader.close()
        self._writer.close()

    def wait(self, timeout: float | None) -> list[int]:
        """Numbers of the signals that came, oldest first; empty after ``timeout`` seconds without any."""
        ready, _, _ = select.select([self._reader], [], [], timeout)
        return list(self._reader.recv(4096)) if ready else []


class Child:
    """One process that is to be running. It gets a session of its own and dies with the thread that started it.

    Args:
        name: what the log calls it.
        command: how it is started, every time.
        env: its environment.
        output: where its output goes; None: where ours goes.
        prepare: called before every start; returns variables for this start on top of ``env``.
        died: called after an exit nobody asked for, with the beginning of the attempt ids of the process that ended.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        env: Mapping[str, str],
        output: IO[bytes] | None = None,
        prepare: Callable[[], Mapping[str, str]] | None = None,
        died: Callable[[str], None] | None = None,
    ) -> None:
        self.name = name
        self.exits = 0  #: exits in a row that came soon after the start
        self._command, self._env, self._output, self._prepare = list(command), dict(env), output, prepare
        self._env[LINEAGE] = uuid.uuid4().hex[:16]
        self._died, self._starts = died, 0
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._due: float | None = None

    @property
    def pid(self) -> int | None:
        """Of the running process."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start it now."""
        # the kernel delivers the parent-death signal when the starting *thread* ends
        assert threading.current_thread() is threading.main_thread()
        extra = self._prepare() if self._prepare else {}
        self._due = None
        self._starts += 1
        self._started = time.monotonic()
        self._process = subprocess.Popen(
            self._command,
            env={**self._env, **extra, LINEAGE_START: str(self._starts)},
            cwd="/",  # Celery puts the current folder first on the path: a user's worker.py there would shadow ours
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            start_new_session=True,
            preexec_fn=die_with_parent(),
        )

    def poll(self) -> bool:
        """Notice an exit and start again when that is due.

        Returns:
            Whether the process was started in this call.
        """
        if self._process is not None and (status := self._process.poll()) is not None:
            lived = time.monotonic() - self._started
            self._process = None
            self.exits = 1 if lived >= SETTLED_S else self.exits + 1
            pause = PAUSES[min(self.exits, len(PAUSES)) - 1]
            self._due = time.monotonic() + pause
            log.warning("%s %s after %.1f s; starting it again in %g s", self.name, describe(status), lived, pause)
            if self._died is not None:
                self._died(f"{self._env[LINEAGE]}.{self._starts}.")
        if self._due is None or time.monotonic() < self._due:
            return False
        try:
            self.start()
        except OSError as err:  # no memory or no processes left: both pass
            self._due = time.monotonic() + PAUSES[-1]
            log.error("cannot start %s: %s", self.name, err)
            return False
        return True

    def wait_left(self) -> float | None:
        """Seconds until :meth:`poll` has something to do by itself; None: until the process exits."""
        return None if self._due is None else max(0.0, self._due - time.monotonic())

    def send(self, number: int) -> None:
        """Send a signal to the process, or to its whole session if it is SIGKILL."""
        if self._process is None or self._process.poll() is not None:
            return
        if number == signal.SIGKILL:
            os.killpg(self._process.pid, number)
        else:
            self._process.send_signal(number)

    def gone(self) -> bool:
        """Whether no process runs (for a caller that asked it to end; :meth:`poll` would start it again)."""
        return self._process is None or self._process.poll() is not None


def worker_command(
    *, app: str = "worker.app", slots: int, queues: Sequence[str], name: str | None = None, loglevel: str = "INFO"
) -> list[str]:
    """The command line of one worker.

    Args:
        app: module of the Celery app.
        slots: cells at a time.
        queues: what it consumes.
        name: node name before the ``@``; by default one of this supervisor's own, since two must not be equal.
        loglevel: of the worker.
    """
    return [
        sys.executable,
        # ours starts the sandbox at once and is Celery from then on
        *("-P", "-m", "worker" if app == "worker.app" else "celery", "-A", app, "worker"),
        *("-P", "threads", "-c", str(slots), "-Q", ",".join(queues), "-n", f"{name or f'codeexec-{os.getpid()}'}@%h"),
        *("--without-mingle", "--without-gossip", f"--loglevel={loglevel}"),
    ]


def supervise(command: Sequence[str], env: Mapping[str, str]) -> int:
    """Keep a worker alive until SIGTERM, SIGINT or SIGHUP.

    The first signal lets the worker finish what it runs, the second one ends it at once.

    Returns:
        Exit status: 0 after an orderly end, 1 after a second signal.
    """
    with Signals(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        child = Child("the worker", command, env, died=lease_ender(env.get("CELERY_BROKER_URL")))
        child.start()
        log.info("the worker runs as process %d", child.pid)
        asked = 0
        while True:
            for number in signals.wait(None if asked else child.wait_left()):
                if number == signal.SIGCHLD:
                    continue
                asked += 1
                log.info("%s: %s", signal.Signals(number).name, "the worker ends now" if asked > 1 else _WARM)
                child.send(signal.SIGKILL if asked > 1 else signal.SIGTERM)
            if asked and child.gone():
                return 1 if asked > 1 else 0
            if not asked and child.poll():
                log.info("the worker runs as process %d", child.pid)


def lease_ender(broker_url: str | None) -> Callable[[str], None]:
    """What ends the leases of a worker that died, so that others run its cells before its successor is up.

    Each call works in a thread of its own: a supervisor never waits for a broker. Leases that cannot be ended, for
    lack of a broker, are ended by the successor or run out.

    Args:
        broker_url: of the worker; None: Celery's default.
    """

    def end(lineage: str) -> None:
        from codeexec_magic.errors import CodeExecError
        from codeexec_magic.settings import Settings
        from codeexec_magic.store import JobStore

        try:
            store = JobStore(broker_url or "redis://localhost:6379/0", Settings.from_env())
            try:
                store.orphan(lineage)
            finally:
                store.close()
        except CodeExecError as err:
            log.debug("leases of the worker that died: %s", err)

    return lambda lineage: threading.Thread(target=end, args=(lineage,), daemon=True).start()


_WARM: Final = "the worker finishes what it runs, then ends; a second signal ends it at once"


def describe(status: int) -> str:
    """An exit status in words."""
    if status >= 0:
        return f"exited with status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"


def die_with_parent() -> Callable[[], None]:
    """A ``preexec_fn`` that has the kernel kill the new process when the thread that starts it ends."""
    parent = os.getpid()
    prctl = ctypes.CDLL(None, use_errno=True).prctl  # looked up here: between fork and exec only simple calls are safe

    def prepare() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # the parent died before the line above
            os._exit(1)

    return prepare
