"""Attempts on a real worker: what follows from the way a run ended."""

from __future__ import annotations

import json
import uuid

import pytest
from live_cluster import LiveCluster
from support import wait_until

from codeexec_magic import Client
from codeexec_magic.cli.follow import follow
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


ALTERNATING = """# {}
import os
print('HEAD')
for _ in range({}):
    os.write(3, b'ox'); os.write(3, b'ey')
print('TAIL')
"""


def test_all_readers_see_the_same_output(client: Client) -> None:
    """A live follower, a later reader, a job answered by the cache, and a terminal; nothing is missing."""
    code = ALTERNATING.format(uuid.uuid4(), 15_000)
    job = client.submit(code)
    live = job.result(100)
    assert live.success
    assert (live.stdout.startswith("HEAD\nx"), live.stdout.endswith("xTAIL\n")) == (True, True)
    assert (live.stdout.count("x"), live.stderr) == (15_000, "y" * 15_000)
    assert not live.truncated
    assert len(live.outputs) <= 10_000
    later = client.job(job.id).result(30)
    cached = client.submit(code).result(30)
    assert cached.cached
    assert live.outputs == later.outputs == cached.outputs
    shown = {"stdout": "", "stderr": ""}

    def write(text: str, name: str) -> None:
        shown[name] += text

    follow(client.job(job.id), write)
    assert shown == {"stdout": live.stdout, "stderr": live.stderr}


def test_streams_that_alternate_come_to_no_more_than_the_limit(client: Client) -> None:
    """1.5 million events of one byte: head and tail come, and what was cut is told in the same way to every reader."""
    job = client.submit(ALTERNATING.format(uuid.uuid4(), 750_000), timeout=100)
    result = job.result(110)
    assert len(json.dumps(result.outputs)) <= 3 << 20
    assert len(result.outputs) <= 10_100
    assert result.stdout.startswith("HEAD\nx")
    if result.success:  # else the time limit of a busy machine
        assert result.stdout.endswith("xTAIL\n")
        assert result.stdout.count("x") + result.truncated.get("stdout", 0) == 750_000
        marked = {event["name"]: event["bytes"] for event in result.outputs if event["type"] == "truncated"}
        assert marked == result.truncated
    assert client.job(job.id).result(30).outputs == result.outputs
