"""Workers that die, hang and shut down; truth is what the ledger saw."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import statistics
import time
from collections import Counter
from collections.abc import Iterator

import pytest
from harness import LEASE_S, Cluster, gone
from support import processes_mentioning, wait_until

from codeexec_magic.contract import Reason, Status
from codeexec_magic.store.dead_letters import dead_letter

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(180)]

SLOW = "import time\nprint('begun', flush=True)\ntime.sleep({})\nprint('done')"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """One supervised worker with two slots."""
    with Cluster() as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def ready(cluster: Cluster) -> None:
    """Every test starts with a worker that listens."""
    cluster.wait_for_workers()


def test_a_job_whose_worker_is_killed_runs_once_more(cluster: Cluster) -> None:
    """Kill -9 mid-run: the cell runs again, once, and the user gets one outcome with the death in its record."""
    job = cluster.client.submit(SLOW.format(4), cache=False)
    cluster.wait_for_start(job)
    cluster.kill_worker()
    result = job.result(60)
    assert result.success
    assert result.stdout == "begun\ndone\n"
    assert cluster.starts(job) == 2
    assert [attempt["reason"] for attempt in result.attempts] == ["worker_lost", "ok"]


def test_nothing_of_a_killed_worker_survives(cluster: Cluster) -> None:
    """Launcher, zygote and the sandboxed tree go with their worker, by the process table."""
    job = cluster.client.submit(SLOW.format(60), cache=False)
    cluster.wait_for_start(job)
    cluster.wait_for_output(job)
    pid = wait_until(cluster.worker_pids, 10, "the worker")[0]
    family = children_of(pid)
    assert len(family) >= 3, "a launcher, a zygote and a sandbox"
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: all(gone(one) for one in family), 5, "the end of the killed worker's processes")
    job.cancel()
    assert job.result(30).status is Status.CANCELLED, "cancelled while its worker was dead: it does not run again"
    assert cluster.starts(job) == 1


def children_of(pid: int) -> list[int]:
    """All live descendants of a process."""
    import psutil

    return [child.pid for child in psutil.Process(pid).children(recursive=True)]


def test_a_cell_that_kills_its_worker_every_time_is_a_poison_pill(cluster: Cluster) -> None:
    """Exactly three starts, then a dead letter; its neighbour still finishes."""
    cluster.fail_at("in-run", 3)
    poison = cluster.client.submit("'poison'", cache=False)
    wait_until(lambda: poison.status is Status.DEAD_LETTERED, 90, "the dead letter")
    assert cluster.starts(poison) == 3
    letter = dead_letter(cluster.client.store, poison.id)
    assert letter.reason == Reason.WORKER_LOST
    assert len(letter.attempts) == 3
    assert cluster.client.submit("'neighbour'", cache=False).result(60).success
    assert cluster.client.requeue(poison.id).result(60).success, "cured, it can be requeued"


@pytest.mark.parametrize(
    ("point", "starts"),
    [("before-begin", 1), ("before-finish", 2), ("after-finish", 1)],
)
def test_a_death_between_two_steps_loses_nothing(cluster: Cluster, point: str, starts: int) -> None:
    """Between message and begin, run and finish, finish and report: one outcome, and no run too many."""
    cluster.fail_at(point)
    job = cluster.client.submit(f"'{point}'", cache=False)
    result = job.result(60)
    assert result.success
    assert cluster.starts(job) == starts
    from celery import Celery

    celery = Celery(broker=cluster.server.url, backend=cluster.server.backend_url)
    assert celery.AsyncResult(job.id).get(timeout=30)["success"]


def test_a_message_taken_by_a_stopped_worker_is_sent_again(cluster: Cluster) -> None:
    """BRPOP hands a message to a process that never records it: the reconciler notices and the job runs once."""
    pid = wait_until(cluster.worker_pids, 10, "the worker")[0]
    os.kill(pid, signal.SIGSTOP)
    job = cluster.client.submit("'popped'", cache=False)
    wait_until(lambda: not cluster.client.store.redis.llen("code_execution"), 20, "the message to be taken")
    os.kill(pid, signal.SIGKILL)
    assert job.result(60).success
    assert cluster.starts(job) == 1


def test_a_hung_worker_that_comes_back_is_fenced_out(cluster: Cluster) -> None:
    """Stopped for longer than its lease while another worker takes over: one outcome, from the other."""
    extra = cluster.supervisor(1)
    cluster.supervisors.append(extra)
    try:
        cluster.wait_for_workers(2)
        job = cluster.client.submit(SLOW.format(3), cache=False)
        cluster.wait_for_start(job)
        pid = int(next(iter(cluster.workers_by_job()[job.id])))
        os.kill(pid, signal.SIGSTOP)
        cluster.wait_for_start(job, 2, LEASE_S + 20)
        os.kill(pid, signal.SIGCONT)
        result = job.result(60)
        assert result.success
        assert cluster.starts(job) == 2
        assert len([event for event in job.events() if event["type"] == "end"]) == 1
        assert result.stdout == "begun\ndone\n"
    finally:
        extra.terminate()
        extra.wait(20)
        cluster.supervisors.remove(extra)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT], ids=["warm", "cold"])
def test_a_shutdown_hands_running_cells_back_uncharged(cluster: Cluster, number: signal.Signals) -> None:
    """After the grace time, or at once, the cell is stopped, queued again and not counted as a crash."""
    job = cluster.client.submit(SLOW.format(6), cache=False)
    cluster.wait_for_start(job)
    cluster.kill_worker(number)
    result = job.result(60)
    assert result.success
    state = job.state()
    assert (state.crashes, state.failures) == (0, 0)
    assert cluster.starts(job) == 2
    assert "Unrecoverable error" not in cluster.log()


@pytest.mark.parametrize("error", ["MemoryError", "SystemExit", "KeyboardInterrupt"])
def test_an_error_of_ours_that_would_end_a_worker_costs_a_message(cluster: Cluster, error: str) -> None:
    """Raised in every slot's task code: the same process serves on, and the job is sent again and runs once."""
    pids = cluster.worker_pids()
    cluster.fail_at(f"raise-{error}", cluster.slots)
    jobs = [cluster.client.submit(f"{n}, '{error}'", cache=False) for n in range(cluster.slots)]
    assert all(job.result(90).success for job in jobs)
    assert [cluster.starts(job) for job in jobs] == [1] * cluster.slots
    assert not list(cluster.failpoints.iterdir())
    assert cluster.worker_pids() == pids


def test_a_long_job_runs_once_beyond_every_timeout(cluster: Cluster) -> None:
    """Longer than lease and visibility timeout together would be: still one start."""
    job = cluster.client.submit(SLOW.format(3 * LEASE_S), cache=False)
    assert job.result(60).success
    assert cluster.starts(job) == 1


def test_cancel_at_any_moment_has_one_outcome(cluster: Cluster) -> None:
    """A hundred seeded timings from queued to finished: one outcome, and by the process table no tree lives on.

    A third of the orders come at some time after the submission, a third once the cell runs, a third at about its end,
    and every tenth after it.
    What was promised, dead within 0.5 s, is printed; that it dies is asserted.
    """
    rng = random.Random(7)
    deaths: list[float] = []
    outcomes: Counter[Status] = Counter()
    for number in range(100):
        mark = f"0.15{number:04}0815"
        code = f"import subprocess; subprocess.run(['sleep', '{mark}'])"
        job = cluster.client.submit(code, cache=False)
        if number % 3:
            wait_until(lambda mark=mark, job=job: family(mark) or job.state().status.terminal, 60, "the cell's start")
        if number % 10 == 5:
            wait_until(lambda job=job: job.state().status.terminal, 60, "the cell's end")
        moment = time.monotonic() + rng.uniform(0, 0.25 if number % 3 != 1 else 0.1)
        wait_until(lambda moment=moment: time.monotonic() >= moment, 5, "the moment")
        tree = family(mark)
        cancelled = time.monotonic()
        job.cancel()
        wait_until(lambda tree=tree: all(gone(pid) for pid in tree), 20, "the end of the tree")
        if tree:
            deaths.append(time.monotonic() - cancelled)
        result = job.result(60)
        wait_until(lambda mark=mark: not family(mark), 20, "the end of whatever started meanwhile")
        outcomes[result.status] += 1
        assert job.state().status is result.status
        assert [event["type"] for event in job.events()].count("end") == 1
        assert cluster.starts(job) <= 1
    assert set(outcomes) == {Status.CANCELLED, Status.SUCCEEDED}
    assert len(deaths) >= 20
    told = f"p50 {statistics.median(deaths) * 1000:.0f} ms, max {max(deaths) * 1000:.0f} ms"
    print(f"{dict(outcomes)}; trees that ran were gone after {told} ({len(deaths)} of them)")


def family(mark: str) -> set[int]:
    """Processes with this text on their command line, and their parents: the cell and what it started."""
    import psutil

    found = set(processes_mentioning(mark))
    for pid in tuple(found):
        with contextlib.suppress(psutil.NoSuchProcess):
            found.add(psutil.Process(pid).ppid())
    return found


def test_random_kills_lose_nothing_and_double_nothing() -> None:
    """Forty jobs, eight seeded kills: forty outcomes, and no more starts than kills explain."""
    rng = random.Random(11)
    with Cluster(slots=2, workers=2) as cluster:
        jobs = [
            cluster.client.submit(f"import time; time.sleep({rng.uniform(0.05, 0.4):.2f}); {n}", cache=False)
            for n in range(40)
        ]
        kills = 0
        while kills < 8 and not all(job.done for job in jobs):
            before = cluster.starts()
            wait_until(lambda before=before: cluster.starts() > before or all(job.done for job in jobs), 60, "progress")
            cluster.kill_worker()
            kills += 1
        results = [job.result(120) for job in jobs]
        assert [result.status for result in results].count(Status.SUCCEEDED) + sum(
            result.status is Status.DEAD_LETTERED for result in results
        ) == 40
        assert cluster.starts() <= 40 + kills * cluster.slots
        counters = cluster.client.store.redis.hgetall("codeexec:default:counters")
        assert sum(int(value) for name, value in counters.items() if name.startswith("ended:")) == 40
