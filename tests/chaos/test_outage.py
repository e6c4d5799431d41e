"""A broker that stays away for longer than every timeout."""

from __future__ import annotations

import time

import pytest
from harness import Cluster
from support import wait_until

from codeexec_magic.contract import Status
from codeexec_magic.errors import BrokerUnreachable

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(240)]

OUTAGE_S = 30


def test_half_a_minute_without_a_broker_loses_and_doubles_nothing() -> None:
    """What ran ends and is recorded, what waited for its next try gets it, what is submitted meanwhile is refused."""
    with Cluster(slots=3) as cluster:
        client = cluster.client
        ends_before = client.submit(f"import time; time.sleep({OUTAGE_S / 3})", cache=False)
        ends_after = client.submit(f"import time; time.sleep({OUTAGE_S + 5})", cache=False)
        retrying = client.submit("raise MemoryError", cache=False, retries=1, retry_waits=[OUTAGE_S / 3])
        cluster.wait_for_start(ends_before)
        cluster.wait_for_start(ends_after)
        wait_until(lambda: retrying.status is Status.RETRYING, 60, "the wait for the next try")
        assert client.store.redis.execute_command("WAITAOF", 1, 0, 10_000)[0] == 1
        cluster.server.kill()
        back = time.monotonic() + OUTAGE_S

        def refused() -> bool:
            with pytest.raises(BrokerUnreachable, match="cannot reach the broker"):
                client.submit("'during the outage'")
            return time.monotonic() > back

        wait_until(refused, OUTAGE_S + 30, "the end of the outage")
        cluster.server.start()
        assert client.submit("'after'", cache=False).result(60).success
        assert ends_before.result(60).success
        assert ends_after.result(90).success
        assert retrying.result(60).status is Status.DEAD_LETTERED
        assert [cluster.starts(job) for job in (ends_before, ends_after, retrying)] == [1, 1, 2]
        assert [job.state().crashes for job in (ends_before, ends_after, retrying)] == [0, 0, 0]
