"""The machine misbehaves: clocks jump, disks fill, the sandbox's own processes die, the notebook's process dies."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
from harness import Cluster
from support import missing, wait_until

from codeexec_magic.contract import Reason, Status
from codeexec_magic.errors import ClusterError

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(180)]

COUNT = "import time\nfor n in range({}):\n    print('line', n, flush=True)\n    time.sleep(0.1)"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """One supervised worker whose clock is a day ahead."""
    with Cluster(env={"CHAOS_CLOCK": "86400"}) as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def ready(cluster: Cluster) -> None:
    """Every test starts with a worker that listens."""
    cluster.wait_for_workers()


def test_a_wrong_clock_changes_nothing(cluster: Cluster) -> None:
    """A worker whose clock is a day ahead reports waits and times by the server's clock."""
    result = cluster.client.submit("'clock'", cache=False).result(60)
    assert result.success
    assert 0 <= result.wait_time_ms < 60_000
    away = abs((datetime.fromisoformat(result.timestamp) - datetime.now(UTC)).total_seconds())
    assert away < 600
    again = cluster.client.submit("'clock'", cache="refresh").result(60)
    hit = cluster.client.submit("'clock'").result(60)
    assert hit.cached
    assert hit.cached_from == again.task_id


@pytest.mark.parametrize("part", ["launcher", "zygote"])
def test_a_dead_part_of_the_sandbox_is_replaced(cluster: Cluster, part: str) -> None:
    """Kill -9 of launcher or zygote is told as internal, retried, and never blamed on the cell."""
    job = cluster.client.submit(COUNT.format(20), cache=False, retry_waits=[0.1])
    cluster.wait_for_start(job)
    cluster.wait_for_output(job)
    worker = psutil.Process(wait_until(cluster.worker_pids, 10, "the worker")[0])
    launcher = next(child for child in worker.children() if "launcher" in " ".join(child.cmdline()))
    victim = launcher if part == "launcher" else launcher.children()[0]
    victim.kill()
    result = job.result(90)
    assert result.success
    assert [attempt["reason"] for attempt in result.attempts] == [Reason.INTERNAL, Reason.OK]
    assert worker.is_running(), "the worker itself lives on"


def test_a_reader_that_died_is_replaced_without_a_gap(cluster: Cluster) -> None:
    """The submitting process is killed mid-stream; another one attaches by id and has every line once."""
    program = (
        "import sys; from codeexec_magic import Client\n"
        f"job = Client({cluster.server.url!r}).submit({COUNT.format(30)!r}, cache=False)\n"
        "print(job.id, flush=True)\n"
        "for line in job.stream(): print(line, flush=True)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as kernel:
        assert kernel.stdout is not None
        task_id = kernel.stdout.readline().strip()
        assert kernel.stdout.readline() == "line 0\n"
        kernel.kill()
    lines = list(cluster.client.job(task_id).stream())
    assert lines == [f"line {n}" for n in range(30)]


def test_a_submitter_that_died_at_once_has_not_lost_its_job(cluster: Cluster) -> None:
    """The process ends the moment the server has the submission: the job runs all the same."""
    program = (
        "import os; from codeexec_magic import Client\n"
        f"job = Client({cluster.server.url!r}).submit('\"orphan\"', cache=False)\n"
        "os.write(1, job.id.encode()); os.kill(os.getpid(), 9)"
    )
    task_id = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False).stdout
    assert cluster.client.job(task_id).result(60).success


def test_requeueing_twice_at_once_runs_once(cluster: Cluster) -> None:
    """Twenty simultaneous clicks on Requeue cause one run."""
    job = cluster.client.submit("raise MemoryError", cache=False, retries=0)
    assert job.result(60).status is Status.DEAD_LETTERED
    assert cluster.starts(job) == 1
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda _: cluster.client.requeue(job.id, code="'edited'"), range(20)))
    assert cluster.client.job(job.id).result(60).success
    assert cluster.starts(job) == 2
    assert cluster.client.dead_letters() == []


def test_requeueing_while_others_purge_runs_each_job_once_more_at_most(cluster: Cluster) -> None:
    """Requeues, drops and a purge at the same time: no entry is left, and no job runs twice for one click."""
    jobs = [cluster.client.submit(f"raise MemoryError({n})", cache=False, retries=0) for n in range(12)]
    assert {job.result(60).status for job in jobs} == {Status.DEAD_LETTERED}
    acts = [lambda job=job: cluster.client.requeue(job.id, code="'cured'") for job in jobs for _ in range(2)]
    acts += [lambda job=job: cluster.client.drop(job.id) for job in jobs[:6]]
    acts.insert(len(acts) // 2, cluster.client.purge_dead_letters)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda act: act(), acts))
    assert all(cluster.client.job(job.id).result(60).success for job in jobs)
    assert [cluster.starts(job) for job in jobs] == [2] * len(jobs)
    assert cluster.client.dead_letters() == []
    assert not cluster.client.store.redis.exists("codeexec:default:dead_letter:index")


def test_a_requeued_job_survives_its_worker(cluster: Cluster) -> None:
    """The worker dies under the requeued run: it runs once more, and the deaths before the requeue do not count."""
    job = cluster.client.submit("raise MemoryError", cache=False, retries=0)
    assert job.result(60).status is Status.DEAD_LETTERED
    cluster.fail_at("in-run")
    assert cluster.client.requeue(job.id, code="'cured'").result(60).success
    assert cluster.starts(job) == 3
    assert job.state().crashes == 1


def test_a_cell_that_runs_out_of_memory_is_tried_again_then_given_up(cluster: Cluster) -> None:
    """Three retries after the first run, each told with the time of the next one; then a dead letter with all four."""
    before = cluster.worker_pids()
    job = cluster.client.submit("x = bytearray(4 << 30)", cache=False, memory_mb=200, retry_waits=[0.1, 0.2, 0.3])
    assert job.result(90).status is Status.DEAD_LETTERED
    assert cluster.starts(job) == 4
    assert [attempt["reason"] for attempt in cluster.client.dead_letter(job.id).attempts] == [Reason.MEMORY] * 4
    waits = [event["next_try_in_s"] for event in cluster.client.store.events(job.id) if "next_try_in_s" in event]
    assert all(0.8 * wait <= told <= 1.2 * wait for wait, told in zip([0.1, 0.2, 0.3], waits, strict=True))
    assert cluster.worker_pids() == before


def test_memory_errors_end_cells_and_not_workers(cluster: Cluster) -> None:
    """Cells that run out of memory, exit and crash in turn leave the same worker process serving."""
    before = cluster.worker_pids()
    codes = ["raise MemoryError", "import sys; sys.exit(3)", "import os; os._exit(1)", "import os; os.abort()"]
    jobs = [cluster.client.submit(code, cache=False, retries=0) for code in codes]
    reasons = [job.result(60).reason for job in jobs]
    assert reasons == [Reason.MEMORY, Reason.EXIT, Reason.EXIT, Reason.SIGNAL]
    assert cluster.worker_pids() == before


def test_many_short_jobs_leak_nothing(cluster: Cluster) -> None:
    """After three hundred cells from four clients the worker has the descriptors and threads it had before."""
    worker = psutil.Process(wait_until(cluster.worker_pids, 10, "the worker")[0])

    def load(client: int) -> list[Status]:
        jobs = [cluster.client.submit(f"{client}, {n}", cache=False) for n in range(25)]
        return [job.result(120).status for job in jobs]

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(load, range(4)))
        before = (worker.num_fds(), worker.num_threads())
        rounds = [status for _ in range(2) for part in pool.map(load, range(4)) for status in part]
    assert set(rounds) == {Status.SUCCEEDED}
    assert worker.num_fds() <= before[0] + 3
    assert worker.num_threads() <= before[1] + 1


def test_a_full_disk_under_the_server_refuses_and_recovers() -> None:
    """With no room for the append-only file nothing is accepted, and afterwards all goes on."""
    with Cluster() as cluster:
        small = cluster.directory / "small"
        small.mkdir()
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(small)], capture_output=True, check=False
        )
        if mounted.returncode:
            missing("the right to mount a small file system")
        try:
            fill_and_recover(cluster, small)
        finally:
            cluster.server.stop()
            subprocess.run(["umount", "-l", str(small)], check=True)
            cluster.server.start()
        cluster.wait_for_workers(timeout=60)


def fill_and_recover(cluster: Cluster, small: Path) -> None:
    """Let the server's folder be the small one, fill it, see refusals, make room, see it go on."""
    cluster.server.stop()
    for path in cluster.directory.glob("appendonly*"):
        subprocess.run(["cp", "-r", str(path), str(small)], check=True)
    cluster.server.start(data=small)
    cluster.wait_for_workers(timeout=60)
    ballast = small / "ballast"
    subprocess.run(["dd", "if=/dev/zero", f"of={ballast}", "bs=64k"], capture_output=True, check=False)
    wait_until(lambda: refused(cluster), 60, "a submission to be refused")
    ballast.unlink()
    wait_until(lambda: works_again(cluster), 60, "submissions to be accepted again")


def refused(cluster: Cluster) -> bool:
    """Whether the server turns a submission down."""
    try:
        cluster.client.submit(f"'{'x' * 4000}'", cache=False)
    except ClusterError as err:
        return "refuses" in str(err)
    return False


def works_again(cluster: Cluster) -> bool:
    """Whether a cell can be submitted and ends."""
    try:
        return cluster.client.submit("'room'", cache=False).result(30).success
    except ClusterError:
        return False


def test_a_cached_answer_needs_no_worker() -> None:
    """The only worker has left; the same cell is answered all the same, and nothing is queued."""
    with Cluster(slots=1) as cluster:
        first = cluster.client.submit("print('kept'); 42")
        assert first.result(60).success
        cluster.supervisors[0].terminate()
        cluster.supervisors[0].wait(60)
        assert cluster.worker_pids() == []
        hit = cluster.client.submit("print('kept'); 42").result(10)
        assert (hit.cached, hit.cached_from, hit.stdout) == (True, first.id, "kept\n")
        assert cluster.client.store.redis.llen("code_execution") == 0
        assert cluster.starts() == 1
