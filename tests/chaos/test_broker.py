"""A broker that goes away, comes back, fills up and cuts connections."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness import Cluster
from support import wait_until

from codeexec_magic.contract import Status
from codeexec_magic.errors import BrokerUnreachable, ClusterError

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(180)]

SLOW = "import time\nprint('begun', flush=True)\ntime.sleep({})\nprint('done')"


@pytest.fixture(scope="module", params=[1, 2], ids=["all slots busy", "a slot free"])
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """One supervised worker; with a free slot the broker's loss hits a blocking read in flight."""
    with Cluster(slots=request.param) as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def ready(cluster: Cluster) -> None:
    """Every test starts with a worker that listens."""
    cluster.wait_for_workers()


def test_a_running_cell_survives_a_broker_crash(cluster: Cluster) -> None:
    """Kill -9 of the server under a running cell: it finishes, is recorded, and does not run again."""
    job = cluster.client.submit(SLOW.format(5), cache=False)
    cluster.wait_for_start(job)
    cluster.wait_for_output(job)
    # the append-only file is synced every second: what is younger than that may be lost, and is not the point here
    assert cluster.client.store.redis.execute_command("WAITAOF", 1, 0, 10_000)[0] == 1
    cluster.server.kill()
    with pytest.raises(BrokerUnreachable, match="cannot reach the broker"):
        cluster.client.submit("'during the outage'")
    cluster.server.start()
    result = job.result(60)
    assert result.success
    assert "done" in result.stdout
    assert cluster.starts(job) == 1
    assert cluster.client.submit("'after'", cache=False).result(60).success


def test_a_reader_follows_through_an_outage(cluster: Cluster) -> None:
    """Whoever waits for a result while the server is away gets it afterwards, every line once."""
    job = cluster.client.submit(SLOW.format(4), cache=False)
    cluster.wait_for_start(job)
    with ThreadPoolExecutor(1) as pool:
        lines = pool.submit(lambda: list(job.stream()))
        cluster.wait_for_output(job)
        assert cluster.client.store.redis.execute_command("WAITAOF", 1, 0, 10_000)[0] == 1
        cluster.server.kill()
        with pytest.raises(BrokerUnreachable):
            cluster.client.jobs()
        cluster.server.start()
        assert lines.result(60) == ["begun", "done"]


def test_queued_jobs_survive_a_broker_restart(cluster: Cluster) -> None:
    """What was accepted runs after the server comes back."""
    jobs = [cluster.client.submit(f"import time; time.sleep(0.2); {n}", cache=False) for n in range(8)]
    cluster.server.stop()
    cluster.server.start()
    assert all(job.result(60).success for job in jobs)
    for job in jobs:
        assert cluster.starts(job) <= 2


def test_cut_connections_heal(cluster: Cluster) -> None:
    """Every client connection is cut, again and again; all jobs end once."""
    jobs = [cluster.client.submit(f"import time; time.sleep(0.3); {n}", cache=False) for n in range(6)]
    for kind in ("normal", "pubsub", "normal"):
        before = cluster.starts()
        cluster.client.store.redis.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
        wait_until(
            lambda before=before: cluster.starts() > before or all(job.done for job in jobs), 30, "work going on"
        )
    assert all(job.result(60).success for job in jobs)


def test_a_paused_broker_doubles_nothing(cluster: Cluster) -> None:
    """The server stands still for longer than a lease; the running cell is not taken for dead."""
    job = cluster.client.submit(SLOW.format(2), cache=False)
    cluster.wait_for_start(job)
    cluster.client.store.redis.execute_command("CLIENT", "PAUSE", "5000", "ALL")
    result = job.result(60)
    assert result.success
    assert cluster.starts(job) == 1


def test_a_full_broker_refuses_and_recovers(cluster: Cluster) -> None:
    """At its memory limit the server takes no submission; the line says so, and afterwards all goes on."""
    redis = cluster.client.store.redis
    redis.config_set("maxmemory", "1mb")
    try:
        with pytest.raises(ClusterError, match="memory is full"):
            cluster.client.submit("'full'", cache=False)
    finally:
        redis.config_set("maxmemory", "0")
    assert cluster.client.submit("'room again'", cache=False).result(60).success


def test_a_broker_filled_with_jobs_works_them_off(cluster: Cluster) -> None:
    """Submissions fill its memory while nothing expires: those that were accepted run, end and are recorded once.

    One whose output finds no room ends without some of it, and says so.
    """
    redis = cluster.client.store.redis
    gate = cluster.client.submit("import time; time.sleep(4)", cache=False)
    cluster.wait_for_start(gate)
    redis.config_set("maxmemory", str(redis.info("memory")["used_memory"] + 200_000))
    jobs = [cluster.client.submit("for n in range(300): print('x' * 1000)", cache=False)]

    def fill() -> None:
        while True:
            jobs.append(cluster.client.submit(f"{len(jobs)} # {'x' * 4000}", cache=False))

    try:
        with pytest.raises(ClusterError, match="memory is full"):
            fill()
        assert len(jobs) > 1  # how many depends on whether the one that prints has begun and takes room too
        results = [job.result(90) for job in (gate, *jobs)]
        assert all(result.success for result in results)
        assert [cluster.starts(job) for job in jobs] == [1] * len(jobs)
        told = results[1]  # too much output for a full server
        assert len(told.stdout) < 300_000
        assert told.truncated["removed"] > 0
    finally:
        redis.config_set("maxmemory", "0")


def test_fifty_identical_cells_run_once(cluster: Cluster) -> None:
    """Submitted at the same time, they share one run, and every one gets the answer."""
    code = f"import time; time.sleep(0.5); print('shared {id(cluster)}')"
    before = cluster.starts()
    with ThreadPoolExecutor(50) as pool:
        jobs = list(pool.map(lambda _: cluster.client.submit(code), range(50)))
        results = list(pool.map(lambda job: job.result(60), jobs))
    assert cluster.starts() == before + 1
    assert {result.stdout for result in results} == {f"shared {id(cluster)}\n"}
    assert {result.status for result in results} == {Status.SUCCEEDED}
    assert len({result.task_id for result in results}) == 50


def test_followers_get_the_answer_of_the_rerun(cluster: Cluster) -> None:
    """The leader's worker is killed while others wait for it: they get what the second run says."""
    code = f"import time; time.sleep(2); 'led {id(cluster)}'"
    leader = cluster.client.submit(code)
    followers = [cluster.client.submit(code) for _ in range(10)]
    cluster.wait_for_start(leader)
    cluster.kill_worker()
    assert all(job.result(60).success for job in (leader, *followers))
    assert cluster.starts(leader) == 2
    assert not any(cluster.starts(job) for job in followers)
