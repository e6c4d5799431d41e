"""Nothing is left in the server that nothing bounds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis
from harness import Cluster
from support import wait_until

from codeexec_magic import Client
from codeexec_magic.cli.root import call
from codeexec_magic.contract import Status
from codeexec_magic.settings import Settings
from codeexec_magic.store.key_inventory import kind_of
from codeexec_magic.store.keys import KEYS, MESSAGES, Key
from codeexec_magic.store.queries import known_queues

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(240)]

SLOW = "import time\nprint('begun', flush=True)\ntime.sleep({})\n'slow'"


def live_through(cluster: Cluster, client: Client) -> None:
    """Jobs of every outcome and in every state, at the same time."""

    def end(code: str, status: Status, **options: Any) -> Any:
        job = client.submit(code, **options)
        assert job.result(90).status is status
        return job

    end("print('x'); 1", Status.SUCCEEDED)
    end("print('x'); 1", Status.SUCCEEDED)  # from the cache
    end("y = x + 1", Status.SUCCEEDED, inputs={"x": 1}, outputs=["y"])
    # its input is kept for a requeue
    end("raise MemoryError", Status.DEAD_LETTERED, retries=0, inputs={"x": b"x" * 2_000_000})
    end("raise ValueError", Status.FAILED)
    end("raise MemoryError", Status.DEAD_LETTERED, retries=0)
    requeued = end("raise MemoryError('again')", Status.DEAD_LETTERED, retries=0)
    assert client.requeue(requeued.id, code="2").result(60).success
    dropped = end("raise MemoryError('dropped')", Status.DEAD_LETTERED, retries=0)
    assert client.drop(dropped.id)
    retrying = client.submit("raise MemoryError", retries=1, retry_waits=[3600], cache=False)
    wait_until(lambda: retrying.status is Status.RETRYING, 60, "the wait for the next try")
    shared = [client.submit("raise ValueError('shared' + (__import__('time').sleep(1) or ''))") for _ in range(3)]
    assert {job.result(60).status for job in shared} == {Status.FAILED}
    killed = client.submit(SLOW.format(3), cache=False)
    cluster.wait_for_start(killed)
    cluster.kill_worker()
    assert killed.result(90).success
    client.store.redis.lpush(f"{client.store.bare}code_execution", "no message")
    running = [client.submit(SLOW.format(600 + n)) for n in (0, 0, 1)]  # with a follower
    cluster.wait_for_start(running[0])
    cluster.wait_for_start(running[2])
    waiting = [client.submit(SLOW.format(700 + n)) for n in range(3)]
    assert waiting[0].cancel() is Status.CANCELLED
    stopped = client.submit("'never'", cache=False)
    stopped.cancel()
    wait_until(lambda: client.store.redis.exists(f"{client.store.prefix}samples"), 60, "a sample")


def walk(client: redis.Redis) -> Iterator[str]:
    """All keys of a database."""
    yield from (str(name) for name in client.scan_iter(count=100))


def look(client: Client) -> Iterator[Key]:
    """The kinds of all keys that are there; each is one that is known, of its type, and expires if it is to."""
    store, queues = client.store, known_queues(client.store)
    for database, connection in (("broker", store.redis), ("results", client.results.redis)):
        for name in walk(connection):
            key = kind_of(name, store, queues, database)
            assert key is not None, name
            yield key
            kind, ttl = connection.type(name), connection.pttl(name)
            if kind == "none":
                continue  # gone meanwhile
            assert kind == key.kind, name
            task_id = name.rpartition(":")[2]
            ended = key.name in ("job:{id}", "events:{id}") and store.snapshot(task_id).record["status"] in (
                ("succeeded", "failed", "cancelled") + (() if key.name == "job:{id}" else ("dead_lettered",))
            )
            if key.expires or ended:
                assert ttl != -1, name
            assert key.bound


@pytest.mark.parametrize("namespace", ["default", "team"])
def test_every_key_is_in_the_inventory_and_bounded(
    namespace: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key nobody listed fails, as does one that is to expire and does not, or whose type is another one."""
    settings = Settings(namespace=namespace)
    with Cluster(slots=2, env={"CODEEXEC_NAMESPACE": namespace, "CODEEXEC_EVENTS": "1"}, settings=settings) as cluster:
        client = cluster.client
        live_through(cluster, client)
        seen: set[Key] = set()
        # what a worker announces again and again may have expired when it was looked for on a busy machine
        momentary = {"alerts", "reconciler", "value_upload:{id}"}

        def unseen() -> set[str]:
            seen.update(look(client))
            return {key.name for key in set(KEYS) - seen}

        wait_until(lambda: unseen() <= momentary, 60, "every kind of key but what lasts a moment")
        assert MESSAGES in seen
        monkeypatch.setenv("CODEEXEC_NAMESPACE", namespace)
        assert call(["--broker", cluster.server.url, "keys"]) == 0
        shown = capsys.readouterr().out
        assert all(key.name in shown for key in KEYS)
