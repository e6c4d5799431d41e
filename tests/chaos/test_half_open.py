"""Connections that carry nothing any more and are never closed."""

from __future__ import annotations

import time

import pytest
from harness import Cluster

from codeexec_magic.contract import Status

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(240)]

SLOW = "import time\nprint('begun', flush=True)\ntime.sleep({})\nprint('done')"


def test_half_open_connections_are_given_up() -> None:
    """Bytes vanish on every connection a worker has, and nobody closes any: it opens others and goes on.

    The cell that runs meanwhile outlives its lease, unseen, so it may run again; it has one outcome.
    """
    with Cluster(slots=2, proxied=True) as cluster:
        assert cluster.proxy
        job = cluster.client.submit(SLOW.format(3), cache=False)
        cluster.wait_for_output(job)
        assert cluster.proxy.drop() >= 3
        cut = time.monotonic()
        following = cluster.client.submit("'next'", cache=False)
        assert following.result(120).success
        print(f"consumed again {time.monotonic() - cut:.1f} s after the connections went half open")
        assert job.result(120).success
        assert cluster.starts(job) <= 2
        assert [event["type"] for event in job.events()].count("end") == 1


def test_a_lease_is_renewed_although_its_connection_went_half_open() -> None:
    """One worker's connections go half open under a running cell while another, healthy one looks for dead workers.

    The holder notices before its lease has run out and renews by a new connection: the cell runs once.
    """
    with Cluster(slots=2, proxied=True, env={"CODEEXEC_LEASE_S": "4"}) as cluster:
        assert cluster.proxy
        # longer than a worker takes to start on a busy machine
        job = cluster.client.submit(SLOW.format(40), cache=False)
        cluster.wait_for_output(job)
        cluster.env |= {"CELERY_BROKER_URL": cluster.server.url, "CELERY_RESULT_BACKEND": cluster.server.backend_url}
        cluster.supervisors.append(cluster.supervisor(1))
        cluster.wait_for_workers(2)
        assert job.status is Status.RUNNING
        assert cluster.proxy.drop() >= 3
        assert job.result(120).success
        assert cluster.starts(job) == 1
        assert job.state().crashes == 0
