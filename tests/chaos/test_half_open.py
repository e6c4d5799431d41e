"""Connections that carry nothing any more and are never closed."""

from __future__ import annotations

import time

import pytest
from harness import Cluster

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
