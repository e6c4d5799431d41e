"""Results that answer for later identical cells."""

from __future__ import annotations

from store_jobs import QUEUE, begin, messages, request, result, run_to_success

from codeexec_magic.contract import Reason, Status
from codeexec_magic.store import JobStore
from codeexec_magic.store.attempt_end import AttemptEnd


def test_a_cached_result_replays_without_a_worker(store: JobStore) -> None:
    """A finished identical cell answers at once, with output, age and parent_cell, and queues nothing."""
    store.heartbeat("w1", [QUEUE], "env-1", {}, {"queues": QUEUE})
    first, second = request("x"), request("x")
    run_to_success(store, first, "env-1")
    depth = len(messages(store))
    hit = store.submit(second)
    assert hit.outcome == "hit"
    assert hit.result is not None
    assert (hit.result.cached, hit.result.cached_from, hit.result.stdout) == (True, first.task_id, "hi\n")
    assert hit.result.cached_age_s is not None
    assert hit.result.task_id == second.task_id
    assert len(messages(store)) == depth
    assert store.submit(request("x", cache="refresh")).outcome == "queued"
    assert store.submit(request("y")).outcome == "queued"


def test_failures_are_never_cached(store: JobStore) -> None:
    """The next identical cell after a failed one runs."""
    one = request("x")
    store.submit(one)
    begin(store, one.task_id)
    store.finish(
        one.task_id,
        "a1",
        AttemptEnd("end", Reason.ERROR, status=Status.FAILED, result=result(one, Status.FAILED, Reason.ERROR)),
    )
    assert store.submit(request("x")).outcome == "queued"


def test_an_environment_answers_for_itself_alone(store: JobStore) -> None:
    """Two workers of one queue with other libraries: what one computed is no answer while the other is announced."""

    def announce(environment: str) -> None:
        store.heartbeat(environment, [QUEUE], environment, {}, {"queues": QUEUE})

    announce("env-1")
    first, second = request("x"), request("x")
    run_to_success(store, first, "env-1")
    announce("env-2")
    run_to_success(store, second, "env-2")
    for environment, parent_cell in (("env-1", first), ("env-2", second), ("env-1", first)):
        announce(environment)
        hit = store.submit(request("x"))
        assert (hit.outcome, hit.leader) == ("hit", parent_cell.task_id)


def test_a_run_is_cached_for_the_environment_it_ran_in(store: JobStore) -> None:
    """Submitted while one environment was announced and run by a worker of another one: the run's own one has it."""
    store.heartbeat("w1", [QUEUE], "env-1", {}, {"queues": QUEUE})
    run_to_success(store, request("x"), "env-2")
    other = request("x")
    assert store.submit(other).outcome == "queued", "nothing ran in env-1"
    store.cancel(other.task_id)
    store.heartbeat("w2", [QUEUE], "env-2", {}, {"queues": QUEUE})
    assert store.submit(request("x")).outcome == "hit"
