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
