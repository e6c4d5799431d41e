"""Identical cells that share one run."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from store_jobs import QUEUE, begin, messages, request, result
from support import PrivateServer, wait_until

from codeexec_magic import Client
from codeexec_magic.contract import ExecutionRequest, Reason, Status
from codeexec_magic.settings import Settings
from codeexec_magic.store import JobStore
from codeexec_magic.store.attempt_end import AttemptEnd
from codeexec_magic.store.dead_letters import DeadLetter, dead_letters
from worker.retry_policy import decide


def test_identical_cells_share_one_run(store: JobStore) -> None:
    """Later submissions of a cell that is on its way follow it and get its answer."""
    leader, follower, other = request("x"), request("x"), request("x", cache="off")
    assert store.submit(leader).outcome == "queued"
    assert store.submit(follower).leader == leader.task_id
    assert store.submit(other).outcome == "queued", "--no-cache runs for itself"
    begin(store, leader.task_id)
    assert store.snapshot(follower.task_id).status is Status.RUNNING
    ended = store.finish(
        leader.task_id, "a1", AttemptEnd("end", Reason.OK, status=Status.SUCCEEDED, result=result(leader))
    )
    assert ended == ("ended", [follower.task_id])
    shared = store.snapshot(follower.task_id)
    assert shared.status is Status.SUCCEEDED
    assert shared.result().task_id == follower.task_id
    assert shared.result().cached_from == leader.task_id
    assert not shared.result().cached


def test_a_cancelled_leader_hands_over(store: JobStore) -> None:
    """When the leader is cancelled, the first follower runs and the others follow it."""
    leader, second, third = request("x"), request("x"), request("x")
    for one in (leader, second, third):
        store.submit(one)
    assert store.cancel(leader.task_id) is Status.CANCELLED
    assert store.events(leader.task_id)[0]["leader"] == second.task_id
    assert [second.task_id, 1] in messages(store)
    assert store.snapshot(third.task_id).run_id == second.task_id
    begin(store, second.task_id)
    ended = store.finish(
        second.task_id, "a1", AttemptEnd("end", Reason.OK, status=Status.SUCCEEDED, result=result(second))
    )
    assert ended == ("ended", [third.task_id])


def test_a_cancelled_follower_leaves_the_leader_alone(store: JobStore) -> None:
    """Cancelling one of several waiters ends only its waiting."""
    leader, follower = request("x"), request("x")
    store.submit(leader)
    store.submit(follower)
    assert store.cancel(follower.task_id) is Status.CANCELLED
    begin(store, leader.task_id)
    ended = store.finish(
        leader.task_id, "a1", AttemptEnd("end", Reason.OK, status=Status.SUCCEEDED, result=result(leader))
    )
    assert ended == ("ended", [])
    assert store.snapshot(follower.task_id).result().reason is Reason.CANCELLED


def test_followers_keep_a_failure_when_its_run_is_requeued(store: JobStore) -> None:
    """The answer and output they were given stay theirs although the leader's record now tells of another run."""
    leader, follower = request("same"), request("same")
    store.submit(leader)
    assert store.submit(follower).outcome == "follow"
    begin(store, leader.task_id)
    store.emit(leader.task_id, "a1", [{"type": "stream", "name": "stdout", "text": "old\n"}])
    failed = result(leader, Status.FAILED, Reason.ERROR)
    store.finish(leader.task_id, "a1", AttemptEnd("end", Reason.ERROR, status=Status.FAILED, result=failed))
    assert store.requeue(leader.task_id, store.snapshot(leader.task_id).record["generation"]) == "queued"
    snapshot = store.snapshot(follower.task_id)
    kept = snapshot.result(store.events(snapshot.run_id))
    assert (kept.reason, kept.verdict, kept.stdout) == (Reason.ERROR, "made up", "old\n")
    assert store.redis.pttl(f"{store.prefix}events:{follower.task_id}") > 0


def test_a_follower_that_took_over_fills_the_cache(store: JobStore) -> None:
    """A follower that took over from a cancelled leader answers for later identical cells."""
    leader, successor, later = request("same"), request("same"), request("same")
    store.submit(leader)
    store.submit(successor)
    store.cancel(leader.task_id)
    begin(store, successor.task_id)
    store.finish(
        successor.task_id,
        "a1",
        AttemptEnd("end", Reason.OK, status=Status.SUCCEEDED, result=result(successor), environment="unknown"),
    )
    assert store.submit(later).outcome == "hit"


def test_followers_are_capped_like_the_queue(redis_server: PrivateServer, store: JobStore) -> None:
    """Identical cells are records too: beyond the configured length they are refused."""
    small = JobStore(redis_server.url, Settings(max_queue=2))
    outcomes = [small.submit(request("same")).outcome for _ in range(4)]
    assert outcomes == ["queued", "follow", "follow", "full"]
    small.close()


def fail(store: JobStore, one: ExecutionRequest, reason: Reason = Reason.MEMORY, failures: int = 0) -> str:
    """Close the open attempt ``a1`` of a job as its worker would; the verdict of the store."""
    decision = decide(one, reason, failures)
    ended = decision.action == "end"
    letter = DeadLetter.of(one, result(one, decision.status, reason), "").as_dict() if decision.dead else None
    end = AttemptEnd(
        decision.action,
        reason,
        status=decision.status,
        result=result(one, decision.status, reason) if ended else None,
        delay_s=decision.delay_s,
        charge=decision.charge,
        dead_letter=letter,
    )
    return store.finish(one.task_id, "a1", end)[0]


def follow(store: JobStore, leader: ExecutionRequest, *followers: ExecutionRequest) -> None:
    """Submit a leader whose attempt ``a1`` runs, and its followers."""
    store.submit(leader)
    begin(store, leader.task_id)
    for one in followers:
        assert store.submit(one).leader == leader.task_id


PATIENT = {"retries": 100, "retry_waits_s": (86_400.0,)}


@pytest.mark.parametrize(
    "own",
    [
        {"retries": 0},
        {"retries": 3, "retry_waits_s": (0.1,)},
        {"retries": 99, "retry_waits_s": (86_400.0,)},
        {"retries": 100, "retry_waits_s": (86_400.0, 1.0)},
    ],
)
def test_a_follower_does_not_wait_for_the_retries_of_its_leader(store: JobStore, own: dict[str, Any]) -> None:
    """A follower with other retries or other waits gets a run of its own when the shared run failed."""
    leader, follower = request("x", **PATIENT), request("x", **own)
    follow(store, leader, follower)
    assert fail(store, leader) == "retrying"
    snapshot = store.snapshot(follower.task_id)
    assert (snapshot.status, snapshot.run_id) == (Status.QUEUED, follower.task_id)
    assert messages(store)[-1] == [follower.task_id, 1]
    begin(store, follower.task_id)
    assert fail(store, follower) == ("ended" if own["retries"] == 0 else "retrying")
    assert store.snapshot(leader.task_id).status is Status.RETRYING


def test_a_follower_with_the_same_retries_stays(store: JobStore) -> None:
    """Equal promises are kept by one run: retried together, given up together; other followers share another run."""
    same = {"retries": 1, "retry_waits_s": (0.05, 9.0)}  # the second wait is never used
    leader, like_it = request("x", **same), request("x", retries=1, retry_waits_s=(0.05,))
    others = [request("x", retries=0) for _ in range(2)]
    follow(store, leader, others[0], like_it, others[1])
    assert fail(store, leader) == "retrying"
    assert store.snapshot(like_it.task_id).status is Status.RETRYING
    assert [store.snapshot(one.task_id).run_id for one in others] == [others[0].task_id] * 2
    wait_until(lambda: store.sweep([QUEUE], 60).due == 1, 20, "the retry is due")
    begin(store, leader.task_id, generation=2)
    assert fail(store, leader, failures=1) == "ended"
    assert store.snapshot(like_it.task_id).result().reason is Reason.MEMORY
    assert store.snapshot(others[0].task_id).status is Status.QUEUED


def test_a_leader_that_gave_up_leaves_followers_their_retries(store: JobStore) -> None:
    """The leader had none: the follower's first run is its own, with all of its retries after it."""
    leader, follower = request("x", retries=0), request("x", retries=2)
    follow(store, leader, follower)
    assert fail(store, leader) == "ended"
    assert [letter.task_id for letter in dead_letters(store)] == [leader.task_id]
    state = store.snapshot(follower.task_id).state()
    assert (state.status, state.retries, state.failures) == (Status.QUEUED, 2, 0)
    begin(store, follower.task_id)
    assert fail(store, follower) == "retrying"


def test_nobody_joins_a_job_that_waits_for_its_next_try(store: JobStore) -> None:
    """A cell submitted while an identical job is ``retrying`` runs at once, also with the same retries."""
    leader, later, last = (request("x", **PATIENT) for _ in range(3))
    follow(store, leader)
    assert fail(store, leader) == "retrying"
    assert store.submit(later).outcome == "queued"
    assert store.submit(last).leader == later.task_id


def test_a_cell_in_another_queue_is_not_followed(store: JobStore) -> None:
    """A follower would wait in the line of the leader's queue, and for its workers."""
    leader, other = request("x"), request("x", queue="code_execution_heavy")
    store.submit(leader)
    assert store.submit(other).outcome == "queued"


@pytest.mark.parametrize("reason", [Reason.ERROR, Reason.EXIT, Reason.DISK, Reason.SIGNAL, Reason.OUTPUT])
def test_a_failure_that_no_policy_retries_is_shared(store: JobStore, reason: Reason) -> None:
    """Running the cell again would change nothing for anybody."""
    leader, follower = request("x", **PATIENT), request("x", retries=0)
    follow(store, leader, follower)
    assert fail(store, leader, reason) == "ended"
    assert store.snapshot(follower.task_id).result().reason is reason


def test_an_unreadable_leader_is_its_own_fault(store: JobStore) -> None:
    """The record of the leader cannot be read, that of its follower can: the follower runs."""
    leader, follower = request("x"), request("x")
    follow(store, leader, follower)
    refused = result(leader, Status.FAILED, Reason.INTERNAL)
    end = AttemptEnd("end", Reason.INTERNAL, status=Status.FAILED, result=refused)
    assert store.finish(leader.task_id, "a1", end) == ("ended", [])
    assert store.snapshot(follower.task_id).run_id == follower.task_id


@pytest.mark.parametrize("state", ["queued", "running", "retrying"])
def test_a_leader_cancelled_in_any_state_leaves_its_followers_a_run(store: JobStore, state: str) -> None:
    """Whatever the leader did when it was cancelled, a follower with the same retries runs at once."""
    leader, follower = request("x", **PATIENT), request("x", **PATIENT)
    store.submit(leader)
    store.submit(follower)
    if state != "queued":
        begin(store, leader.task_id)
    if state == "retrying":
        assert fail(store, leader) == "retrying"
    store.cancel(leader.task_id)
    if state == "running":
        assert fail(store, leader, Reason.CANCELLED) == "ended"
    assert store.snapshot(leader.task_id).status is Status.CANCELLED
    snapshot = store.snapshot(follower.task_id)
    assert (snapshot.status, snapshot.run_id) == (Status.QUEUED, follower.task_id)


def test_a_reader_of_the_leader_reads_on_after_a_handover(store: JobStore) -> None:
    """The event that sends followers to another run does not send readers of the leader back to the start."""
    client = Client(store.url)
    leader, follower = request("x", **PATIENT), request("x", retries=0)
    follow(store, leader, follower)
    store.emit(leader.task_id, "a1", [{"type": "stream", "name": "stdout", "text": "once"}])
    assert fail(store, leader) == "retrying"
    store.cancel(leader.task_id)
    reader = client.job(leader.task_id)
    seen = list(itertools.islice(reader.events(), 20))
    assert [event.get("text") for event in seen].count("once") == 1
    assert seen[-1]["type"] == "end"
    begin(store, follower.task_id)
    assert fail(store, follower) == "ended"
    moved = client.job(follower.task_id).result(20)
    assert (moved.status, moved.task_id, moved.stdout) == (Status.DEAD_LETTERED, follower.task_id, "")
    client.close()


def test_a_poison_pill_is_one_for_every_follower(store: JobStore) -> None:
    """A cell that killed its workers is not given to more workers on behalf of followers."""
    leader, follower = request("x", **PATIENT), request("x", retries=0)
    follow(store, leader, follower)
    lost = result(leader, Status.DEAD_LETTERED, Reason.WORKER_LOST)
    letter = DeadLetter.of(leader, lost, "").as_dict()
    end = AttemptEnd("end", Reason.WORKER_LOST, status=Status.DEAD_LETTERED, result=lost, dead_letter=letter)
    assert store.finish(leader.task_id, "a1", end) == ("ended", [follower.task_id])
