"""A full server: finished jobs lose their output, the oldest first, and every reader is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
from store_jobs import begin, request, result, run_to_success
from support import PrivateServer

from codeexec_magic.contract import ExecutionRequest, Reason, Status, decode_request
from codeexec_magic.errors import BrokerFull
from codeexec_magic.settings import Settings
from codeexec_magic.store import JobStore
from codeexec_magic.store.attempt_end import AttemptEnd
from codeexec_magic.store.celery_results import CeleryResults
from codeexec_magic.store.room import Room
from codeexec_magic.values.ref import ValueRef

LARGE = 200_000


@pytest.fixture
def results(redis_server: PrivateServer) -> Iterator[CeleryResults]:
    """Where Celery's results go."""
    results = CeleryResults(redis_server.backend_url, Settings())
    yield results
    results.close()


@pytest.fixture
def full(store: JobStore) -> Iterator[None]:
    """Called by a test that has filled the server: nothing more goes in."""
    yield
    store.redis.config_set("maxmemory", "0")


def run_with_output(store: JobStore, one: ExecutionRequest, results: CeleryResults) -> None:
    """A job that succeeds with much output."""
    store.submit(one)
    begin(store, one.task_id)
    text = {"type": "stream", "name": "stdout", "text": "x" * LARGE}
    outcome = result(one)
    end = AttemptEnd("end", Reason.OK, status=Status.SUCCEEDED, result=outcome, environment="unknown", events=[text])
    store.finish(one.task_id, "a1", end)
    results.record([replace(outcome, outputs=(text,))])


def fill(store: JobStore) -> None:
    """Leave the server without room for anything."""
    store.redis.config_set("maxmemory", str(store.redis.info("memory")["used_memory"] - 10_000))
    with pytest.raises(BrokerFull):
        store.submit(request("refused"))


@pytest.mark.usefixtures("full")
def test_room_is_made_for_the_next_job(store: JobStore, results: CeleryResults) -> None:
    """The oldest output goes, the newest stays, the small one stays, and both databases shrink."""
    jobs = [request(f"print({number})") for number in range(30)]
    small = request("small")
    run_to_success(store, small)
    for one in jobs:
        run_with_output(store, one, results)
    fill(store)
    assert Room(store, results).make()
    assert store.submit(request("accepted")).outcome == "queued"
    oldest, newest = (store.events(one.task_id) for one in (jobs[0], jobs[-1]))
    assert [event["type"] for event in oldest] == ["truncated", "end"]
    assert oldest[0]["why"] == "room"
    assert oldest[0]["bytes"] > LARGE * 0.9
    assert [event["type"] for event in newest] == ["status", "stream", "end"]
    assert [event["type"] for event in store.events(small.task_id)] == ["status", "stream", "end"]
    celery = [json.loads(results.redis.get(f"celery-task-meta-{one.task_id}"))["result"] for one in jobs]
    assert celery[0]["stdout"] == ""
    assert celery[0]["truncated"]["removed"] > LARGE * 0.9
    assert celery[-1]["stdout"] == "x" * LARGE
    for one in jobs:
        assert store.redis.ttl(f"{store.prefix}events:{one.task_id}") > 0
        assert results.redis.ttl(f"celery-task-meta-{one.task_id}") > 0


@pytest.mark.usefixtures("full")
def test_every_reader_is_told_the_same(store: JobStore, results: CeleryResults) -> None:
    """The record, the end of the stream, and a job that was answered by the cache before."""
    one, later = request("same"), request("same")
    run_with_output(store, one, results)
    assert store.submit(later).outcome == "hit"
    fill(store)
    assert Room(store, results).make()
    events = store.events(one.task_id)
    told = store.snapshot(one.task_id).result(events)
    assert told.success
    assert told.truncated["removed"] > LARGE * 0.9
    assert told.outputs[0]["type"] == "truncated"
    assert events[-1]["result"]["truncated"] == told.truncated
    cached = store.snapshot(later.task_id)
    assert cached.result(store.events(cached.run_id)).truncated == told.truncated


@pytest.mark.usefixtures("full")
def test_a_trimmed_job_does_not_answer_for_others(store: JobStore, results: CeleryResults) -> None:
    """An identical cell runs again instead of being shown an output that is gone."""
    one = request("twice")
    run_with_output(store, one, results)
    fill(store)
    assert Room(store, results).make()
    store.redis.config_set("maxmemory", "0")
    assert store.submit(request("twice")).outcome == "queued"


@pytest.mark.usefixtures("full")
def test_inputs_go_with_a_job_that_succeeded_only(store: JobStore, results: CeleryResults) -> None:
    """A failed job can be run again, so it keeps them."""
    inputs = {f"x{i}": ValueRef.inline(b"y" * 2000, "safe", "bytes") for i in range(LARGE // 2000)}
    done, failed = (request(code, inputs=inputs) for code in ("1", "2"))
    run_to_success(store, done)
    store.submit(failed)
    begin(store, failed.task_id)
    failure = result(failed, Status.FAILED, Reason.ERROR)
    store.finish(failed.task_id, "a1", AttemptEnd("end", Reason.ERROR, status=Status.FAILED, result=failure))
    fill(store)
    assert Room(store, results).make()
    kept = decode_request(store.snapshot(failed.task_id).record["request"], failed.task_id)
    assert kept == failed
    gone = decode_request(store.snapshot(done.task_id).record["request"], done.task_id)
    assert gone == replace(done, inputs={})


def test_running_jobs_are_left_alone(store: JobStore, results: CeleryResults) -> None:
    """However much they have written; and a second pass finds nothing to do."""
    one = request("runs")
    store.submit(one)
    begin(store, one.task_id)
    store.emit(one.task_id, "a1", [{"type": "stream", "name": "stdout", "text": "x" * LARGE}])
    assert not Room(store, results).make()
    assert [event["type"] for event in store.events(one.task_id)] == ["status", "stream"]
