"""The daemon: one detached process that owns server and worker, and ends both when they are no longer used."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import secrets
import signal
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from codeexec_magic.contract import QUEUES
from codeexec_magic.local import server, socket_clients
from codeexec_magic.local.directory import ClusterDirectory, State, born, tail, with_children
from codeexec_magic.settings import ClusterSettings, WorkerSettings
from codeexec_magic.supervisor import Child, Signals, lease_ender, worker_command

log = logging.getLogger("codeexec.daemon")

#: starts in a row that may fail before the first success, until we give up and say why
ATTEMPTS: Final = 3
#: seconds a running cell gets to end when the cluster is stopped
WORKER_GRACE_S: Final = 5.0
SERVER_GRACE_S: Final = 10.0
#: seconds between checks of a worker that is starting, and of a worker that has been starting for long
POLL_S: Final = 0.02
SLOW_POLL_S: Final = 0.5
#: what the server logs when it cannot read its own data
_UNREADABLE: Final = re.compile(
    r"Bad file format|Unexpected end of file|handle RDB format|loading the DB|AOF manifest|appendonly.*corrupt", re.I
)


class Daemon:
    """Runs in the foreground until a signal, or until the cluster has been idle for long enough.

    Args:
        home: the cluster's folder, locked by the caller.
        settings: of the cluster.
        workers: slots and queues of the worker.
        env: what server and worker inherit.
    """

    def __init__(
        self, home: ClusterDirectory, settings: ClusterSettings, workers: WorkerSettings, env: Mapping[str, str]
    ) -> None:
        self._home, self._settings = home, settings
        self._binary = server.find_binary()
        self._queues = tuple(dict.fromkeys((*QUEUES, *workers.queues)))
        self._namespace = workers.namespace
        self._token = ""
        self._log_start = 0
        self._redis: Any = None
        self._busy_at = self._starting_since = time.monotonic()
        self._state = State(
            os.getpid(),
            born(os.getpid()) or 0,
            server=str(self._binary),
            slots=workers.slots,
            idle_s=settings.idle_s,
            since=time.time(),
        )
        options = {"socket_path": home.socket, "data": home.data, "memory_mb": settings.server_memory_mb}
        self._server = Child(
            "the server",
            server.command(self._binary, **options),  # type: ignore[arg-type]  # mypy sees one type for all values
            {name: env[name] for name in ("PATH", "LANG", "TZ") if name in env},
            home.log("server").open("ab", buffering=0),
            self._before_server,
        )
        self._worker = Child(
            "the worker",
            worker_command(slots=workers.slots, queues=self._queues, name=f"embedded-{os.getpid()}"),
            {
                **env,
                "CELERY_BROKER_URL": server.url(home.socket, 0),
                "CELERY_RESULT_BACKEND": server.url(home.socket, 1),
                "CODEEXEC_SLOTS": str(workers.slots),
                "CODEEXEC_QUEUES": ",".join(self._queues),
                # cells go back to their queue before the worker is killed
                "CODEEXEC_GRACE_S": f"{WORKER_GRACE_S / 2:g}",
            },
            home.log("worker").open("ab", buffering=0),
            self._before_worker,
            lease_ender(server.url(home.socket, 0)),
        )

    def run(self, before: State | None = None) -> int:
        """Keep the cluster until it is time to stop.

        Args:
            before: the state that the previous daemon wrote.

        Returns:
            Exit status: 0 after an orderly end, 1 when it never got going.
        """
        with Signals(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            _end_leftovers(before)
            self._server.start()
            self._worker.start()
            self._write()
            from codeexec_magic.store.connection import connect  # late: server and worker start meanwhile

            self._redis = connect(server.url(self._home.socket, 0))
            while not any(number != signal.SIGCHLD for number in signals.wait(self._timeout())):
                if error := self._tick():
                    log.error("%s", error)
                    self._stop(signals, "failed", error)
                    return 1
                if self._unreachable() or (self._idle() and self._leave()):
                    break
            self._stop(signals, "stopping")
        return 0

    def _timeout(self) -> float:
        """Seconds until there is something to do besides answering signals."""
        left = [wait for wait in (self._server.wait_left(), self._worker.wait_left()) if wait is not None]
        if self._state.stage == "ready":
            left.append(min(5.0, self._settings.idle_s / 4))
        else:
            left.append(POLL_S if time.monotonic() - self._starting_since < 30 else SLOW_POLL_S)
        return min(left)

    def _tick(self) -> str:
        """Restart what died and find out whether the cluster is ready.

        Returns:
            Why it cannot get going at all; empty when it can, or once could.
        """
        seen = self._server.pid, self._worker.pid
        self._server.poll()
        self._worker.poll()
        state = self._state
        if seen != (self._server.pid, self._worker.pid):
            state = replace(state, stage="starting", answers=state.answers and seen[0] == self._server.pid)
            if self._state.stage == "ready":
                self._starting_since = time.monotonic()
        if not state.answers and self._server.pid:
            state = replace(state, answers=server.ping(self._home.socket))
        if state.stage == "starting" and state.answers and self._worker_ready():
            state = replace(state, stage="ready")
            log.info("ready after %.2f s", time.monotonic() - self._starting_since)
            self._busy_at, self._was_ready = time.monotonic(), True
        self._set(state)
        if not self._was_ready:
            for name, child in (("server", self._server), ("worker", self._worker)):
                if child.exits >= ATTEMPTS:
                    return f"the {name} does not start: {_reason(tail(self._home.log(name), 30))}"
        return ""

    _was_ready = False

    def _set(self, state: State) -> None:
        state = with_children(state, self._server.pid, self._worker.pid)
        if state != self._state:
            self._state = state
            self._write()

    def _write(self) -> None:
        try:
            self._home.write(self._state)
        except OSError as err:
            log.error("cannot write the state file: %s", err)

    # -- the children

    def _before_server(self) -> dict[str, str]:
        self._home.socket.unlink(missing_ok=True)
        path = self._home.log("server")
        with contextlib.suppress(OSError), path.open("rb") as written:
            written.seek(self._log_start)
            last = written.read().decode(errors="replace")
            self._log_start = written.tell()
            if self._server.exits and _UNREADABLE.search(last) and "No space left" not in last:
                self._set_data_aside()
        return {}

    def _set_data_aside(self) -> None:
        # kept, not deleted: only a person can tell what they are worth; one set, so that it cannot grow for ever
        import shutil

        broken = self._home.path / "data.broken"
        shutil.rmtree(broken, ignore_errors=True)
        self._home.data.rename(broken)
        self._home.data.mkdir(mode=0o700)
        log.error("the server cannot read its data: moved to %s, starting empty", broken)

    def _before_worker(self) -> dict[str, str]:
        # one token per start, so that what a dead worker announced is not taken for the new one's
        self._token = secrets.token_hex(8)
        return {"CODEEXEC_SUPERVISOR_TOKEN": self._token}

    def _worker_ready(self) -> bool:
        import redis

        from codeexec_magic.store.keys import WORKER, WORKERS, Namespace

        keys = Namespace(self._namespace)
        try:
            for worker in self._redis.zrevrange(keys.key(WORKERS), 0, 50):
                if self._redis.hget(keys.key(WORKER, worker), "supervisor_token") == self._token:
                    return True
        except redis.RedisError as err:
            log.warning("the server does not answer: %s", err)
        return False

    # -- the end

    def _unreachable(self) -> bool:
        """Whether our state file was removed or replaced, so that clients cannot find this cluster."""
        found = self._home.read()
        if found is not None and found.pid == self._state.pid:
            return False
        log.warning("the state file is gone: stopping, since clients cannot find this cluster")
        return True

    def _idle(self) -> bool:
        if self._state.stage != "ready":
            return False
        if self._in_use():
            self._busy_at = time.monotonic()
        self._home.trim_logs()
        return time.monotonic() - self._busy_at >= self._settings.idle_s

    def _in_use(self) -> bool:
        """Whether anybody is connected, or anything is queued, running or waiting for its next try."""
        import redis

        from codeexec_magic.store.keys import MESSAGES, QUEUED, RETRYING, RUNNING, Namespace

        keys = Namespace(self._namespace)
        own = [pid for pid in (os.getpid(), self._worker.pid) if pid]
        # where the kernel cannot say who is connected, the work alone decides: stopping early costs a restart, no data
        if socket_clients.other_clients(self._home.socket, own):
            return True
        try:
            with self._redis.pipeline(transaction=False) as pipe:
                for queue in self._queues:
                    pipe.llen(keys.key(MESSAGES, queue))
                    pipe.zcard(keys.key(QUEUED, queue))
                pipe.zcard(keys.key(RUNNING))
                pipe.zcard(keys.key(RETRYING))
                return any(pipe.execute())
        except redis.RedisError as err:
            log.warning("cannot see whether the cluster is idle: %s", err)
            return True

    def _leave(self) -> bool:
        """Announce the end, then look again: a client may have connected after the last look."""
        self._set(replace(self._state, stage="stopping"))
        if self._in_use():
            self._busy_at = time.monotonic()
            self._set(replace(self._state, stage="ready"))
            return False
        log.info("idle for %g s: stopping", self._settings.idle_s)
        return True

    def _stop(self, signals: Signals, stage: str, error: str = "") -> None:
        self._set(replace(self._state, stage="stopping"))
        for child, grace in ((self._worker, WORKER_GRACE_S), (self._server, SERVER_GRACE_S)):
            child.send(signal.SIGTERM)
            deadline = time.monotonic() + grace
            while not child.gone() and time.monotonic() < deadline:
                # a second signal means: now
                if any(number != signal.SIGCHLD for number in signals.wait(deadline - time.monotonic())):
                    break
            if not child.gone():
                log.warning("%s did not end: killing it", child.name)
            child.send(signal.SIGKILL)
        if self._unreachable():
            return  # whatever is in the folder now is not ours
        if error:
            self._home.socket.unlink(missing_ok=True)
            self._home.write(replace(self._state, stage=stage, error=error, answers=False))
        else:
            self._home.forget()
        log.info("stopped")


def _end_leftovers(before: State | None) -> None:
    """End the children of a daemon that was killed: they die with it, but that takes a moment."""
    if before is None:
        return
    for pid, then in ((before.server_pid, before.server_born), (before.worker_pid, before.worker_born)):
        if pid is None or then is None or born(pid) != then:
            continue
        log.warning("ending process %d that the last daemon left", pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 5
        while born(pid) == then and time.monotonic() < deadline:
            time.sleep(0.005)


def _reason(text: str) -> str:
    """The line of a log that says most about a failed start."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for line in reversed(lines):
        if re.match(r"([\w.]*(Error|Exception|Unavailable|NotFound)\b|Error: \S|codeexec)", line) or "Fatal" in line:
            return line
    return lines[-1] if lines else "it says nothing"
