"""What the reconcilers repair, and what workers that left leave behind."""

from __future__ import annotations

import pytest
from store_jobs import QUEUE, begin, messages, request
from support import PrivateServer, wait_until

from codeexec_magic.contract import Reason, Status
from codeexec_magic.settings import Settings
from codeexec_magic.store import JobStore
from codeexec_magic.store.attempt_end import AttemptEnd


def test_the_reconciler_cannot_close_a_living_attempt(store: JobStore) -> None:
    """Closing on behalf of a dead worker waits for its lease to run out."""
    one = request()
    store.submit(one)
    begin(store, one.task_id)
    assert store.finish(one.task_id, "a1", AttemptEnd("again", Reason.WORKER_LOST, only_if_expired=True))[0] == "alive"
    wait_until(lambda: store.sweep([QUEUE], 60).expired == (one.task_id,), 5, "the lease to run out")
    assert store.finish(one.task_id, "a1", AttemptEnd("again", Reason.WORKER_LOST, only_if_expired=True))[0] == "queued"


def test_a_lost_message_is_sent_again(store: JobStore) -> None:
    """A job whose message vanished between queue and worker gets a new one, and the old one is void."""
    lost, waiting = request("1"), request("2")
    store.submit(lost)
    store.redis.rpop(QUEUE)
    published = store.now()
    wait_until(lambda: store.now() > published, 5, "the clock to move")
    store.submit(waiting)
    wait_until(lambda: store.sweep([QUEUE], 0).lost == 1, 5, "the lost message to be noticed")
    assert messages(store) == [[lost.task_id, 2], [waiting.task_id, 1]], "it had been next"
    assert store.begin(lost.task_id, 1, "old", "w1") == "stale"


def test_a_lost_message_is_missed_however_many_jobs_wait_behind_it(store: JobStore) -> None:
    """Jobs submitted at nearly the same time: the loss is noticed while all of them wait, after the grace time."""
    jobs = [request(str(number)) for number in range(20)]
    for one in jobs:
        store.submit(one)
    store.redis.rpop(QUEUE)
    assert store.sweep([QUEUE], 0.5).lost == 0, "a worker may be about to begin it"
    wait_until(lambda: store.sweep([QUEUE], 0.5).lost == 1, 20, "the lost message to be noticed")
    assert messages(store)[0] == [jobs[0].task_id, 2]
    assert [task_id for task_id, _ in messages(store)] == [one.task_id for one in jobs]


def test_a_job_requeued_behind_others_does_not_make_them_look_lost(store: JobStore) -> None:
    """Its first message is still next in line and void; what lies between that and its new one is all there."""
    again, *others = [request(str(number)) for number in range(4)]
    for one in (again, *others):
        store.submit(one)
    store.cancel(again.task_id)
    assert store.requeue(again.task_id, "1") == "queued"
    then = store.now()
    wait_until(lambda: store.now() > then, 5, "the clock to move")
    assert store.sweep([QUEUE], 0).lost == 0
    assert len(messages(store)) == 5


def test_waiting_jobs_are_not_taken_for_lost(store: JobStore) -> None:
    """However long a queue stands, nothing in it is sent twice."""
    for number in range(5):
        store.submit(request(str(number)))
    assert store.sweep([QUEUE], 0).lost == 0
    assert len(messages(store)) == 5


def test_a_job_whose_worker_died_is_next_in_line(store: JobStore) -> None:
    """It had been next already; the ones behind it keep their order and are not taken for lost."""
    first, second, third = request("1"), request("2"), request("3")
    for one in (first, second, third):
        store.submit(one)
    store.redis.rpop(QUEUE)
    begin(store, first.task_id)
    store.finish(first.task_id, "a1", AttemptEnd("again", Reason.WORKER_LOST, charge="crashes"))
    assert [task_id for task_id, _ in messages(store)] == [first.task_id, second.task_id, third.task_id]
    assert store.snapshot(first.task_id).state().position == 1
    assert store.sweep([QUEUE], 0).lost == 0


def test_a_job_cancelled_while_its_worker_died_does_not_run_again(store: JobStore) -> None:
    """Neither the reconciler nor a retry revives what the user has cancelled."""
    lost, retried = request("1"), request("2")
    for one in (lost, retried):
        store.submit(one)
        begin(store, one.task_id)
        store.cancel(one.task_id)
    assert store.finish(lost.task_id, "a1", AttemptEnd("again", Reason.WORKER_LOST, charge="crashes")) == (
        "cancelled",
        [],
    )
    assert (
        store.finish(retried.task_id, "a1", AttemptEnd("retry", Reason.TIMEOUT, charge="failures", delay_s=0))[0]
        == "cancelled"
    )
    for one in (lost, retried):
        assert store.snapshot(one.task_id).status is Status.CANCELLED
        assert store.events(one.task_id)[-1]["type"] == "end"


def test_the_end_of_a_supervisors_worker_ends_its_leases_only(store: JobStore) -> None:
    """Attempts of its lineage are up for another worker at once; those of others hold."""
    mine, other = request(), request("other")
    for one, attempt in ((mine, "line1.a"), (other, "line2.a")):
        store.submit(one)
        begin(store, one.task_id, attempt=attempt)
    assert store.orphan("line1.") == 1
    assert store.sweep([QUEUE], 4.0).expired == (mine.task_id,)


@pytest.mark.parametrize("garbage", ["5", "null", "not json", "[]", '{"headers": 5}', '{"headers": {"id": 5}}'])
def test_garbage_next_in_line_does_not_stop_repairs(store: JobStore, garbage: str) -> None:
    """Whatever somebody pushed onto the queue, the sweep goes on."""
    store.submit(request())
    store.redis.rpush(QUEUE, garbage)
    swept = store.sweep([QUEUE], 4.0)
    assert (swept.due, swept.lost, swept.expired) == (0, 0, ())


def test_messages_of_cancelled_jobs_are_capped_like_the_queue(redis_server: PrivateServer, store: JobStore) -> None:
    """Without a worker nobody takes them out; submitting and cancelling does not fill the server."""
    small = JobStore(redis_server.url, Settings(max_queue=3))
    outcomes = []
    for number in range(5):
        one = request(str(number))
        outcomes.append(small.submit(one).outcome)
        if outcomes[-1] == "queued":
            small.cancel(one.task_id)
    assert outcomes == ["queued"] * 3 + ["full"] * 2
    small.close()


def test_a_worker_that_left_is_forgotten_by_celery_too(store: JobStore) -> None:
    """Kombu would keep the name of its control queue as long as any other worker lives."""
    table = "_kombu.binding.celery.pidbox"
    members = {name: f"\x06\x16\x06\x16{name}.celery.pidbox" for name in ("w1@h", "w2@h", "w3@h")}
    store.redis.sadd(table, *members.values())
    for name in members:
        store.heartbeat(name, [QUEUE], "e", {}, {"queues": QUEUE})
    store.depart("w1@h", [QUEUE])
    store.redis.zincrby(f"{store.prefix}workers", -90_000_000, "w2@h")  # not heard of for longer than a day
    store.heartbeat("w3@h", [QUEUE], "e", {}, {"queues": QUEUE})
    assert store.redis.smembers(table) == {members["w3@h"]}
