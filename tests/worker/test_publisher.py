"""Output on its way to the event stream."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from support import PrivateServer, wait_until

from codeexec_magic.contract import ExecutionRequest, ExecutionResult, Reason, Status
from codeexec_magic.errors import ClusterError
from codeexec_magic.settings import Settings
from codeexec_magic.store import Begun, JobStore
from codeexec_magic.store.attempt_end import AttemptEnd
from codeexec_magic.store.celery_results import CeleryResults
from codeexec_magic.store.room import Room, removed
from worker.publisher import MAX_CHUNK, Flusher, Publisher


class Run:
    """Remembers that it was cancelled."""

    def __init__(self) -> None:
        self.cancelled: list[Reason] = []

    def cancel(self, reason: Reason = Reason.CANCELLED) -> None:
        """Note it."""
        self.cancelled.append(reason)


@pytest.fixture
def store(redis_server: PrivateServer) -> Iterator[JobStore]:
    """An empty store."""
    store = JobStore(redis_server.url, Settings())
    store.redis.flushall()
    yield store
    store.close()


@pytest.fixture
def publisher(store: JobStore) -> Publisher:
    """The publisher of a running attempt."""
    task_id = str(uuid.uuid4())
    store.submit(ExecutionRequest(task_id, "1"))
    assert isinstance(store.begin(task_id, 1, "a", "w"), Begun)
    return Publisher(store, task_id, "a")


@pytest.fixture
def flusher(store: JobStore, redis_server: PrivateServer) -> Iterator[Flusher]:
    """A running flusher."""
    results = CeleryResults(redis_server.backend_url, Settings())
    flusher = Flusher(Room(store, results))
    flusher.start()
    yield flusher
    flusher.stop()
    flusher.join(5)
    results.close()


def text(name: str, value: str) -> dict[str, Any]:
    """A stream event."""
    return {"type": "stream", "name": name, "text": value}


def stored(publisher: Publisher) -> list[dict[str, Any]]:
    """What is in Redis, without the status event and ids."""
    events = publisher.store.events(publisher.task_id)
    return [{k: v for k, v in event.items() if k != "id"} for event in events if event["type"] != "status"]


def test_output_arrives_while_the_cell_runs(publisher: Publisher, flusher: Flusher) -> None:
    """Without any further call, in order."""
    with flusher.publishing(publisher, Run()):
        publisher.add(text("stdout", "a"))
        publisher.add(text("stderr", "b"))
        wait_until(lambda: stored(publisher) == [text("stdout", "a"), text("stderr", "b")], 5, "the output")
        publisher.add(text("stderr", "c"))
        wait_until(lambda: stored(publisher)[2:] == [text("stderr", "c")], 5, "the rest")
    assert publisher.rest() == []


def test_chunks_of_one_stream_are_joined_but_order_is_kept(publisher: Publisher) -> None:
    """Many small prints become few events; a switch of streams or a display separates them."""
    for event in (
        text("stdout", "a"),
        text("stdout", "b"),
        text("stderr", "c"),
        text("stdout", "d"),
        {"type": "display_data", "data": {"text/plain": "x"}, "metadata": {}},
        text("stdout", "e"),
    ):
        publisher.add(event)
    assert [event.get("text") for event in publisher.rest()] == ["ab", "c", "d", None, "e"]


def test_joined_chunks_stay_small(publisher: Publisher) -> None:
    """One event never grows without bound."""
    for _ in range(3):
        publisher.add(text("stdout", "x" * (MAX_CHUNK - 1)))
    assert len(publisher.rest()) == 3


def test_an_order_to_stop_reaches_the_run(publisher: Publisher, flusher: Flusher) -> None:
    """A cancel seen while publishing, or a superseded attempt, kills the cell."""
    run = Run()
    publisher.store.cancel(publisher.task_id)
    with flusher.publishing(publisher, run):
        publisher.add(text("stdout", "a"))
        wait_until(lambda: run.cancelled, 5, "the cancellation")


def test_nothing_is_lost_while_the_broker_is_away(publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed flush keeps its events for the next one."""
    publisher.add(text("stdout", "a"))
    with monkeypatch.context() as patch:
        patch.setattr(publisher.store.redis.connection_pool, "get_connection", _unreachable)
        with pytest.raises(ClusterError):
            publisher.flush()
    publisher.add(text("stderr", "b"))
    assert publisher.flush() == "ok"
    assert stored(publisher) == [text("stdout", "a"), text("stderr", "b")]


def _unreachable(*_: Any, **__: Any) -> Any:
    import redis

    raise redis.ConnectionError("away")


def test_what_has_no_room_leaves_a_marker(publisher: Publisher) -> None:
    """Readers of the stream and of the result are told that output is missing, once."""
    publisher.add(text("stdout", "a"))
    publisher.flush()
    publisher.add(text("stderr", "b" * 1000))
    publisher.give_up()
    publisher.give_up()
    publisher.flush()
    assert stored(publisher) == [text("stdout", "a"), removed(publisher.removed)]
    assert publisher.removed > 1000


def test_a_full_server_makes_room_for_a_running_cell(publisher: Publisher, flusher: Flusher, store: JobStore) -> None:
    """Finished jobs lose their output, and what the cell writes is there."""
    for number in range(20):
        one = ExecutionRequest(str(uuid.uuid4()), f"print({number})")
        store.submit(one)
        assert isinstance(store.begin(one.task_id, 1, "b", "w"), Begun)
        outcome = ExecutionResult(one.task_id, "", True, Status.SUCCEEDED, Reason.OK)
        end = AttemptEnd(
            "end", Reason.OK, status=Status.SUCCEEDED, result=outcome, events=[text("stdout", "x" * 200_000)]
        )
        store.finish(one.task_id, "b", end)
    store.redis.config_set("maxmemory", str(store.redis.info("memory")["used_memory"] - 10_000))
    try:
        with flusher.publishing(publisher, Run()):
            publisher.add(text("stderr", "there"))
            wait_until(lambda: stored(publisher)[-1:] == [text("stderr", "there")], 10, "the output")
    finally:
        store.redis.config_set("maxmemory", "0")
