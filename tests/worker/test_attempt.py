"""Attempts on a real worker: what follows from the way a run ended."""

from __future__ import annotations

import uuid

import pytest
from live_cluster import LiveCluster
from support import wait_until

from codeexec_magic import Client
from codeexec_magic.contract import Reason, Status

pytestmark = pytest.mark.slow


@pytest.fixture
def client(cluster: LiveCluster) -> Client:
    """A client of the live cluster."""
    return cluster.client


def test_a_follower_of_a_patient_leader_keeps_its_own_retries(client: Client) -> None:
    """A cell without retries gives up at once, although an identical cell waits a day for its next try."""
    code = f"import time; time.sleep(1); raise MemoryError('{uuid.uuid4()}')"
    leader = client.submit(code, retries=100, retry_waits=[86_400.0])
    follower = client.submit(code, retries=0)
    assert follower.state().follows == leader.id
    result = follower.result(60)
    assert (result.status, result.reason, result.task_id) == (Status.DEAD_LETTERED, Reason.MEMORY, follower.id)
    assert client.dead_letter(follower.id).task_id == follower.id
    state = leader.state()
    assert (state.status, state.retries) == (Status.RETRYING, 100)
    later = client.submit(code, retries=0)
    assert later.state().follows is None
    leader.cancel()
    assert leader.result(20).status is Status.CANCELLED
    assert later.result(60).status is Status.DEAD_LETTERED


def test_a_follower_runs_when_its_running_leader_is_cancelled(client: Client) -> None:
    """The order to stop was given for one submission only."""
    code = f"import time; time.sleep(1.5); print('{uuid.uuid4()}')"
    leader, follower = client.submit(code, retries=3), client.submit(code, retries=0)
    wait_until(lambda: leader.status is Status.RUNNING, 30, "the leader's run")
    leader.cancel()
    assert leader.result(30).status is Status.CANCELLED
    assert follower.result(60).success


def test_outputs_that_fill_the_server_do_not_stop_submissions(client: Client) -> None:
    """61 cells that print 2 MB each, on a server with room for a dozen: all are accepted, run, and end."""
    redis = client.store.redis
    redis.config_set("maxmemory", str(redis.info("memory")["used_memory"] + 50_000_000))
    code = "import sys # {}\nprint('x' * 1_000_000)\nprint('y' * 1_000_000, file=sys.stderr)"
    try:
        jobs = []
        for number in range(61):
            jobs.append(client.submit(code.format(number), retries=0))
            assert jobs[-1].result(60).success
        newest, oldest = (client.job(job.id).result(10) for job in (jobs[-1], jobs[0]))
        assert (len(newest.stdout), len(newest.stderr)) == (1_000_001, 1_000_001)
        assert not newest.truncated
        assert (oldest.success, oldest.stdout) == (True, "")
        assert oldest.truncated["removed"] > 1_900_000
    finally:
        redis.config_set("maxmemory", "0")
