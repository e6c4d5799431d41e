"""The supervisor, with real processes and a real Celery worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import celery
import pytest
import redis
from support import PrivateServer, process_alive, processes_mentioning, wait_until

from codeexec_magic.contract import ExecutionRequest
from codeexec_magic.settings import Settings
from codeexec_magic.store import Begun, JobStore
from codeexec_magic.supervisor import PAUSES, Child, Signals, describe, lease_ender, worker_command

RUN = "import sys, logging; from codeexec_magic.supervisor import supervise; import os; logging.basicConfig(level=20);"
QUEUE = "supervised"


class Supervised:
    """A supervisor in a process of its own, keeping one command alive."""

    def __init__(self, command: list[str], log: Path, **env: str) -> None:
        self.log = log
        self.mark = f"CX_TEST={log}"
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", f"{RUN} sys.exit(supervise(sys.argv[1:], os.environ))", *command],
                env={**os.environ, **env, "CX_TEST": str(log)},
                stdout=output,
                stderr=output,
            )

    def children(self) -> set[int]:
        """Live processes it started."""
        return set(processes_mentioning(self.mark)) - {self.process.pid}

    def send(self, number: int) -> None:
        """Signal the supervisor."""
        self.process.send_signal(number)

    def logged(self, text: str) -> int:
        """How often ``text`` is in the log."""
        return self.log.read_text().count(text)


@pytest.fixture
def started(tmp_path: Path) -> Iterator[list[Supervised]]:
    """Supervisors to end, with all they started, whatever the test did."""
    running: list[Supervised] = []
    yield running
    for one in running:
        one.process.kill()
        one.process.wait(10)
        wait_until(lambda one=one: not one.children(), 5, "the end of what the supervisor started")


def python(code: str) -> list[str]:
    """A command that runs ``code``."""
    return [sys.executable, "-c", code]


@pytest.fixture
def worker(started: list[Supervised], redis_server: PrivateServer, tmp_path: Path) -> Supervised:
    """A supervised Celery worker that has connected."""
    command = worker_command(app="fake_app", slots=2, queues=[QUEUE], name="test")
    env = {"CELERY_BROKER_URL": redis_server.url, "PYTHONPATH": str(Path(__file__).parent)}
    started.append(Supervised(command, tmp_path / "worker.log", **env))
    wait_until(lambda: started[0].logged(" ready."), 30, "the worker's first start")
    return started[0]


@pytest.fixture
def broker(redis_server: PrivateServer) -> Iterator[celery.Celery]:
    """A producer for the supervised worker's queue."""
    with celery.Celery(broker=redis_server.url, set_as_current=False) as app:
        yield app
    with redis.Redis(unix_socket_path=str(redis_server.socket)) as client:
        client.flushall()


def test_killed_worker_runs_again(worker: Supervised, broker: celery.Celery, tmp_path: Path) -> None:
    """After kill -9 of the worker a new one takes the next task."""
    (before,) = worker.children()
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: worker.logged(" ready.") == 2, 30, "the second start")
    (tmp_path / "release").touch()
    broker.send_task("hold", [str(tmp_path / "started"), str(tmp_path / "release")], queue=QUEUE)
    wait_until((tmp_path / "started.done").exists, 60, "the task")
    assert worker.children() != {before}
    assert worker.logged("was killed by SIGKILL") == 1


def test_worker_that_dies_in_a_task_runs_again(worker: Supervised, broker: celery.Celery) -> None:
    """A task that takes its worker down does not take the supervisor down."""
    broker.send_task("die", queue=QUEUE)
    wait_until(lambda: worker.logged(" ready.") == 2, 30, "the second start")
    assert worker.process.poll() is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_first_signal_lets_the_worker_finish(
    worker: Supervised, broker: celery.Celery, tmp_path: Path, number: int
) -> None:
    """The running task ends before the worker does, and the supervisor exits with 0."""
    broker.send_task("hold", [str(tmp_path / "started"), str(tmp_path / "release")], queue=QUEUE)
    wait_until((tmp_path / "started").exists, 60, "the task")
    worker.send(number)
    wait_until(lambda: worker.logged("finishes what it runs"), 60, "the answer to the signal")
    assert worker.process.poll() is None
    (tmp_path / "release").touch()
    assert worker.process.wait(20) == 0
    assert (tmp_path / "started.done").exists()
    assert not worker.children()


def test_second_signal_ends_it_at_once(worker: Supervised, broker: celery.Celery, tmp_path: Path) -> None:
    """A task that never ends cannot hold up somebody who asks twice."""
    broker.send_task("hold", [str(tmp_path / "started"), str(tmp_path / "release")], queue=QUEUE)
    wait_until((tmp_path / "started").exists, 60, "the task")
    worker.send(signal.SIGTERM)
    wait_until(lambda: worker.logged("finishes what it runs"), 60, "the answer to the signal")
    worker.send(signal.SIGTERM)
    assert worker.process.wait(10) == 1
    wait_until(lambda: not worker.children(), 5, "the worker's end")
    assert not (tmp_path / "started.done").exists()


def test_worker_dies_with_a_killed_supervisor(worker: Supervised) -> None:
    """kill -9 of the supervisor leaves no worker behind."""
    (child,) = worker.children()
    worker.process.kill()
    worker.process.wait(5)
    wait_until(lambda: not process_alive(child), 5, "the worker's end")


def test_folder_with_a_worker_module_does_not_shadow_ours(
    started: list[Supervised], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user's worker.py in the current folder is not what Celery loads, though Celery puts that folder on the path."""
    (tmp_path / "supervised_shadow.py").write_text("raise SystemExit('shadowed')")
    monkeypatch.chdir(tmp_path)
    started.append(Supervised(worker_command(app="supervised_shadow", slots=1, queues=["q"]), tmp_path / "log"))
    wait_until(lambda: started[0].logged("starting it again"), 60, "the worker's end")
    assert not started[0].logged("shadowed")


def test_pauses_grow_and_it_never_gives_up(started: list[Supervised], tmp_path: Path) -> None:
    """A worker that always exits at once is started again and again, at most two seconds apart."""
    started.append(Supervised(python("raise SystemExit(3)"), tmp_path / "log"))
    wait_until(lambda: started[0].logged("exited with status 3") > len(PAUSES), 30, "six exits")
    text = started[0].log.read_text()
    assert [f"again in {pause:g} s" in text for pause in PAUSES] == [True] * len(PAUSES)
    assert max(PAUSES) <= 2
    started[0].send(signal.SIGTERM)
    assert started[0].process.wait(10) == 0


def test_child_has_a_session_of_its_own() -> None:
    """A terminal's or a notebook's interrupt goes to a process group that the child is not in."""
    child = Child("the sleeper", ["sleep", "60"], os.environ)
    with Signals():
        child.start()
        assert child.pid is not None
        assert os.getsid(child.pid) == child.pid
        assert not child.gone()
        child.send(signal.SIGKILL)
        wait_until(child.gone, 5, "the end of the child")


def test_signals_become_data() -> None:
    """What arrives while nobody waits is there at the next wait, in order, and handlers are put back afterwards."""
    before = signal.getsignal(signal.SIGTERM)
    with Signals(signal.SIGTERM, signal.SIGHUP) as signals:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGHUP)
        assert signals.wait(5) == [signal.SIGTERM, signal.SIGHUP]
        assert signals.wait(0) == []
    assert signal.getsignal(signal.SIGTERM) is before


def test_statuses_in_words() -> None:
    """Exit statuses read as sentences, unknown signals included."""
    assert describe(0) == "exited with status 0"
    assert describe(-9) == "was killed by SIGKILL"
    assert describe(-200) == "was killed by signal 200"


def test_the_leases_of_a_dead_worker_end_before_its_successor_is_up(redis_server: PrivateServer) -> None:
    """The supervisor ends those of the process that died, and no others."""
    store = JobStore(redis_server.url, Settings())
    store.redis.flushdb()
    deaths: list[str] = []
    child = Child("the sleeper", ["sleep", "60"], os.environ, died=deaths.append)
    child.start()
    child.send(signal.SIGKILL)
    wait_until(lambda: child.poll() or deaths, 20, "the exit to be noticed")
    wait_until(lambda: child.poll() or child.pid, 20, "the next start")
    (dead,) = deaths
    lineage = dead.removesuffix("1.")
    for task_id, attempt in (("lost", f"{dead}a"), ("held", f"{lineage}2.b")):
        store.submit(ExecutionRequest(task_id, f"'{task_id}'"))
        assert isinstance(store.begin(task_id, 1, attempt, "w"), Begun)
    lease_ender(redis_server.url)(dead)
    wait_until(lambda: store.sweep(["code_execution"], 4.0).expired == ("lost",), 20, "the lease to end")
    child.send(signal.SIGKILL)
    wait_until(child.gone, 20, "the end of the sleeper")
    store.close()
