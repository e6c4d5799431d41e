"""A private server with a real worker, for tests that run cells."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from support import PrivateServer, wait_until

from codeexec_magic import Client


class LiveCluster:
    """A server, and a worker that can be started, stopped and frozen. It serves ``code_execution`` only."""

    def __init__(self, directory: Path, server: PrivateServer) -> None:
        self.directory, self.server = directory, server
        self.client = Client(server.url, server.backend_url)
        self._worker: subprocess.Popen[bytes] | None = None

    @property
    def env(self) -> dict[str, str]:
        """What makes a process use this cluster."""
        return {"CELERY_BROKER_URL": self.server.url, "CELERY_RESULT_BACKEND": self.server.backend_url}

    def start_worker(self) -> None:
        """Start the worker and wait until it listens."""
        if self._worker is not None:
            return
        with (self.directory / "worker.log").open("ab") as log:
            self._worker = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", "worker.app", "worker", "-Q", "code_execution"],
                env={**os.environ, **self.env, "CODEEXEC_SLOTS": "2"},
                cwd=self.directory,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(self._listens, 100, "the worker")

    def stop_worker(self) -> None:
        """Stop it; the queue then has no listener."""
        if self._worker is not None:
            self._worker.send_signal(signal.SIGTERM)
            self._worker.wait(30)
            self._worker = None

    def freeze(self) -> None:
        """Let the worker stand still, as on a machine that swaps."""
        assert self._worker is not None
        os.killpg(self._worker.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._worker is not None
        os.killpg(self._worker.pid, signal.SIGCONT)

    def close(self) -> None:
        """Stop everything."""
        self.stop_worker()
        self.client.close()
        self.server.stop()

    def _listens(self) -> bool:
        """Whether the worker serves its queue."""
        assert self._worker is not None
        assert self._worker.poll() is None, (self.directory / "worker.log").read_text()
        return any(queue.listeners for queue in self.client.queues())
