"""A small cluster to break: a private server, supervised workers, and a ledger nobody else writes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from proxy import Proxy
from support import PrivateServer, process_alive, processes_mentioning, wait_until

from codeexec_magic import Client
from codeexec_magic.job import Job
from codeexec_magic.settings import Settings
from codeexec_magic.supervisor import worker_command

#: short leases, so that a death is noticed soon
LEASE_S = 2.0


class Cluster:
    """Everything one chaos test needs; use as a context manager.

    Args:
        slots: cells at a time in each worker.
        workers: how many supervised workers.
        env: further variables for the workers.
        proxied: the workers reach the server by TCP, through ``proxy``.
        settings: of the client.
    """

    def __init__(
        self,
        slots: int = 2,
        workers: int = 1,
        env: dict[str, str] | None = None,
        proxied: bool = False,
        settings: Settings | None = None,
    ) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="cxchaos-"))
        self.server = PrivateServer(self.directory).start()
        self.proxy = Proxy(self.server.socket) if proxied else None
        self.ledger = self.directory / "ledger"
        self.ledger.touch()
        self.failpoints = self.directory / "failpoints"
        self.failpoints.mkdir()
        self.slots = slots
        self.env = {
            **os.environ,
            "CELERY_BROKER_URL": self.proxy.url(0) if self.proxy else self.server.url,
            "CELERY_RESULT_BACKEND": self.proxy.url(1) if self.proxy else self.server.backend_url,
            "PYTHONPATH": str(Path(__file__).parent),
            "CHAOS_LEDGER": str(self.ledger),
            "CHAOS_FAILPOINT": str(self.failpoints),
            "CODEEXEC_LEASE_S": str(LEASE_S),
            "CODEEXEC_PRELOAD": "json",
            "CODEEXEC_GRACE_S": "1",
            **(env or {}),
        }
        self.supervisors = [self.supervisor(number) for number in range(workers)]
        self.client = Client(self.server.url, self.server.backend_url, settings=settings or Settings(lease_s=LEASE_S))
        try:
            self.wait_for_workers(workers)
        except BaseException:
            self.__exit__()  # nobody else would: what does not start may not stay behind
            raise

    def supervisor(self, number: int) -> subprocess.Popen[bytes]:
        """Start one supervised worker."""
        command = worker_command(app="chaos_app", slots=self.slots, queues=["code_execution"], name=f"w{number}")
        program = "import os, sys; from codeexec_magic.supervisor import supervise; "
        program += f"sys.exit(supervise({command!r}, os.environ))"
        with (self.directory / f"worker-{number}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-P", "-c", program], env=self.env, stdout=log, stderr=log, start_new_session=True
            )

    def wait_for_workers(self, count: int = 1, timeout: float = 100) -> None:
        """Until so many workers listen.

        Raises:
            AssertionError: they do not; the text ends with what they logged.
        """

        def listening() -> bool:
            assert any(supervisor.poll() is None for supervisor in self.supervisors), "no supervisor lives"
            return sum(worker.alive for worker in self.client.workers()) >= count

        try:
            wait_until(listening, timeout, f"{count} workers")
        except AssertionError as err:
            raise AssertionError(f"{err}\n{self.log()}") from None

    def worker_pids(self) -> list[int]:
        """Main processes of the live workers, by the process table."""
        return sorted(
            pid for pid, line in processes_mentioning(str(self.ledger)).items() if "celery -A chaos_app" in line
        )

    def kill_worker(self, number: int = signal.SIGKILL) -> int:
        """Send a signal to one worker's main process; its pid."""
        pid = wait_until(self.worker_pids, 20, "a worker process")[0]
        os.kill(pid, number)
        return pid

    def lines(self) -> list[list[str]]:
        """The ledger: word, task id, attempt, pid, seconds by the machine's steady clock."""
        return [line.split() for line in self.ledger.read_text().splitlines()]

    def starts(self, job: Job | None = None) -> int:
        """How many runs the ledger saw start."""
        return sum(line[0] == "start" and (job is None or line[1] == job.id) for line in self.lines())

    def wait_for_start(self, job: Job, count: int = 1, timeout: float = 40) -> None:
        """Until the ledger has seen so many starts of a job."""
        wait_until(lambda: self.starts(job) >= count, timeout, f"start {count} of {job.id}")

    def wait_for_output(self, job: Job, timeout: float = 40) -> None:
        """Until a job's first line of output is in the store."""
        try:
            wait_until(lambda: any(event.get("text") for event in self._events(job)), timeout, "its output")
        except AssertionError as err:
            told = (job.state(), self._events(job), self.lines(), self.log())
            raise AssertionError("\n".join([str(err), *map(str, told)])) from None

    def _events(self, job: Job) -> list[dict[str, Any]]:
        return self.client.store.events(job.id)

    def starts_by_job(self) -> Counter[str]:
        """Starts of every job."""
        return Counter(line[1] for line in self.lines() if line[0] == "start")

    def workers_by_job(self) -> dict[str, set[str]]:
        """Pids that started each job."""
        found: dict[str, set[str]] = defaultdict(set)
        for line in self.lines():
            if line[0] == "start":
                found[line[1]].add(line[3])
        return found

    def fail_at(self, name: str, times: int = 1) -> None:
        """Arm a failpoint of chaos_app."""
        (self.failpoints / name).write_text(str(times))

    def log(self) -> str:
        """The end of every worker's log."""
        return "\n".join(path.read_text()[-3000:] for path in sorted(self.directory.glob("worker-*.log")))

    def leftovers(self) -> dict[int, str]:
        """Processes that still carry this cluster's mark."""
        return processes_mentioning(str(self.directory))

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        for supervisor in self.supervisors:
            if supervisor.poll() is None:
                supervisor.send_signal(signal.SIGCONT)
                supervisor.send_signal(signal.SIGTERM)
        for supervisor in self.supervisors:
            try:
                supervisor.wait(15)
            except subprocess.TimeoutExpired:
                supervisor.kill()
        for pid in self.worker_pids():
            os.kill(pid, signal.SIGKILL)
        self.server.stop()
        if self.proxy:
            self.proxy.close()
        wait_until(lambda: not self.leftovers(), 10, f"the end of {self.leftovers()}")
        shutil.rmtree(self.directory, ignore_errors=True)


def gone(pid: int) -> bool:
    """Whether a process has ended."""
    return not process_alive(pid)
