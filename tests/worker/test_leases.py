"""Orders reach running cells by the control channel, also after its connection went half open."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from proxy import Proxy
from support import PrivateServer, wait_until

from codeexec_magic.contract import ExecutionRequest, Reason
from codeexec_magic.settings import Settings
from codeexec_magic.store import Begun, JobStore
from worker import leases
from worker.leases import Leases, Listener


class Run:
    """Notes its orders."""

    def __init__(self) -> None:
        self.orders: list[Reason] = []

    def cancel(self, reason: Reason = Reason.CANCELLED) -> None:
        """As a sandbox run."""
        self.orders.append(reason)


@pytest.fixture
def proxy(redis_server: PrivateServer) -> Iterator[Proxy]:
    """A way to the server that can go half open."""
    proxy = Proxy(redis_server.socket)
    yield proxy
    proxy.close()


def test_an_order_arrives_after_the_control_channel_went_half_open(
    redis_server: PrivateServer, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody closes the connection and nothing comes by it: the listener asks, hears nothing and connects anew."""
    monkeypatch.setattr(leases, "SILENCE_S", 1.5)
    direct, proxied = JobStore(redis_server.url, Settings()), JobStore(proxy.url(0), Settings())
    direct.redis.flushall()
    held, task_id = Leases(direct), str(uuid.uuid4())
    direct.submit(ExecutionRequest(task_id, "1"))
    assert isinstance(direct.begin(task_id, 1, "a", "w"), Begun)
    listener = Listener(proxied, held)
    listener.start()
    run = Run()
    with held.hold(task_id, "a", run):
        wait_until(lambda: direct.redis.pubsub_numsub("codeexec:default:control")[0][1] == 1, 10, "the listener")
        assert proxy.drop() >= 1

        def ordered() -> bool:
            direct.cancel(task_id)
            return bool(run.orders)

        wait_until(ordered, 30, "an order to arrive")
    listener.stop()
    listener.join(10)
    for store in (direct, proxied):
        store.close()


def test_a_lease_is_renewed_before_it_runs_out_although_the_connection_is_half_open(
    redis_server: PrivateServer, proxy: Proxy
) -> None:
    """The renewal gives the silent connection up after its share of the lease, and succeeds by another one."""
    settings = Settings(lease_s=4.0)
    direct = JobStore(redis_server.url, settings)
    direct.redis.flushall()
    held, task_id = Leases(JobStore(proxy.url(0), settings, reply_timeout_s=1.0)), str(uuid.uuid4())
    direct.submit(ExecutionRequest(task_id, "1"))
    assert isinstance(direct.begin(task_id, 1, "a", "w"), Begun)
    with held.hold(task_id, "a", Run()):
        held.renew()
        before = direct.redis.zscore("codeexec:default:running", task_id)
        assert proxy.drop() == 1
        held.renew()
        after = direct.redis.zscore("codeexec:default:running", task_id)
    assert before is not None
    assert after is not None
    assert before < after < before + 4000, "before the first one had run out"
    held.store.close()
    direct.close()
