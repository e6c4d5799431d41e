"""The test stand: a private server, one supervised worker of ours, and Celery's no-op worker on the same broker."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import psutil

from codeexec_magic import Client
from codeexec_magic.local import server
from codeexec_magic.settings import Settings
from codeexec_magic.supervisor import worker_command

ROOT = Path(__file__).parents[1]
SLOTS = 2
#: room for a hundred thousand jobs
SERVER_MB = 4096


def wait_for(predicate: Callable[[], object], seconds: float, what: str) -> None:
    """Poll until it is true.

    Raises:
        TimeoutError: it did not become true.
    """
    deadline = time.monotonic() + seconds
    while not predicate():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not happen within {seconds:g} s")
        time.sleep(0.02)


class Server:
    """A private server on a unix socket, set up as the embedded cluster sets up its own."""

    def __init__(self, directory: Path, name: str) -> None:
        folder = directory / name
        folder.mkdir()
        self.socket = folder / "s.sock"
        self.url, self.backend_url = server.url(self.socket, 0), server.url(self.socket, 1)
        self.binary = server.find_binary()
        command = server.command(self.binary, socket_path=self.socket, data=folder, memory_mb=SERVER_MB)
        self.process = start(command, folder / "log")
        wait_for(lambda: server.ping(self.socket), 20, "the server's answer")

    def client(self) -> Client:
        """A client of ours; nothing limits the length of its queues."""
        return Client(self.url, self.backend_url, settings=Settings(max_queue=10_000_000))


class Stand:
    """Everything that is measured here runs on this; use as a context manager."""

    def __enter__(self) -> Stand:
        self.directory = Path(tempfile.mkdtemp(prefix="cxbench-"))
        self._started: list[subprocess.Popen[bytes]] = []
        self.server = self.keep_server("main")
        self.client = self.server.client()
        self.env = {
            **os.environ,
            "CELERY_BROKER_URL": self.server.url,
            "CELERY_RESULT_BACKEND": self.server.backend_url,
            "BENCH_BROKER": self.server.url,
            "BENCH_BACKEND": self.server.backend_url,
            "PYTHONPATH": str(ROOT),
        }
        self.supervisor = self.start_worker()
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        for process in reversed(self._started):
            stop(process)
        shutil.rmtree(self.directory, ignore_errors=True)

    def keep_server(self, name: str) -> Server:
        """One more server, stopped with the stand."""
        made = Server(self.directory, name)
        self._started.append(made.process)
        return made

    def keep(self, command: Iterable[str], name: str) -> subprocess.Popen[bytes]:
        """Start a process that is stopped with the stand."""
        process = start(command, self.directory / f"{name}.log", self.env)
        self._started.append(process)
        return process

    @contextlib.contextmanager
    def running(self, command: Iterable[str], name: str) -> Iterator[None]:
        """A process of a peer, stopped when its turn is over."""
        process = start(command, self.directory / f"{name}.log", self.env)
        try:
            yield
        finally:
            stop(process)

    def start_worker(self) -> subprocess.Popen[bytes]:
        """Our worker under its supervisor, as ``codeexec worker`` runs it."""
        command = worker_command(slots=SLOTS, queues=["code_execution"], name="bench")
        program = "import os, sys; from codeexec_magic.supervisor import supervise; "
        program += f"sys.exit(supervise({command}, os.environ))"
        process = self.keep([sys.executable, "-P", "-c", program], "worker")
        wait_for(lambda: any(worker.alive for worker in self.client.workers()), 60, "the worker's first heartbeat")
        return process

    def worker_processes(self) -> list[psutil.Process]:
        """Supervisor, Celery, launcher, zygote and parked sandboxes."""
        top = psutil.Process(self.supervisor.pid)
        return [top, *top.children(recursive=True)]


def start(command: Iterable[str], log: Path, env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own."""
    with log.open("ab") as output:
        return subprocess.Popen(
            list(command), stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=env, start_new_session=True
        )


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process and what it started."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
