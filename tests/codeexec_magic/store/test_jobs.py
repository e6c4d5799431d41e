"""The store's scripts, on a real server."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from support import PrivateServer, wait_until

from codeexec_magic.contract import ExecutionRequest, ExecutionResult, Reason, Status, code_hash
from codeexec_magic.errors import BrokerUnreachable, JobNotFound
from codeexec_magic.settings import Settings
from codeexec_magic.store import Begun, JobStore
from codeexec_magic.store.dead_letters import DeadLetter, dead_letter, dead_letters

QUEUE = "code_execution"


@pytest.fixture
def store(redis_server: PrivateServer) -> Iterator[JobStore]:
    """An empty store."""
    store = JobStore(redis_server.url, Settings(lease_s=0.3, result_ttl_s=60, cache_ttl_s=60))
    store.redis.flushall()
    yield store
    store.close()


def request(code: str = "1 + 1", **changes: Any) -> ExecutionRequest:
    """A request with a fresh id."""
    return replace(ExecutionRequest(task_id=str(uuid.uuid4()), code=code), **changes)


def result(of: ExecutionRequest, status: Status = Status.SUCCEEDED, reason: Reason = Reason.OK) -> ExecutionResult:
    """An outcome of a request."""
    return ExecutionResult(
        of.task_id, code_hash(of.code), status is Status.SUCCEEDED, status, reason, verdict="made up"
    )


def begin(store: JobStore, task_id: str, generation: int = 1, attempt: str = "a1") -> Begun:
    """Open an attempt that must open."""
    begun = store.begin(task_id, generation, attempt, "w1")
    assert isinstance(begun, Begun)
    return begun


def messages(store: JobStore) -> list[list[Any]]:
    """Arguments of the queued Celery messages, next one first."""
    entries: Any = store.redis.lrange(QUEUE, 0, -1)
    return [json.loads(json.loads(entry)["body"])[0] for entry in reversed(entries)]


def run_to_success(store: JobStore, one: ExecutionRequest, environment: str = "unknown") -> None:
    """Submit, begin, emit, finish."""
    assert store.submit(one).outcome == "queued"
    begin(store, one.task_id)
    assert store.emit(one.task_id, "a1", [{"type": "stream", "name": "stdout", "text": "hi\n"}]) == "ok"
    verdict, _ = store.finish(
        one.task_id, "a1", "end", Reason.OK, status=Status.SUCCEEDED, result=result(one), environment=environment
    )
    assert verdict == "ended"


def test_a_job_runs_from_submission_to_result(store: JobStore) -> None:
    """Submit, begin, emit and finish leave one outcome with its output."""
    one = request()
    submission = store.submit(one)
    assert (submission.outcome, submission.depth) == ("queued", 1)
    assert store.snapshot(one.task_id).state().position == 1
    assert messages(store) == [[one.task_id, 1]]
    begun = begin(store, one.task_id)
    assert begun.request == one
    store.emit(one.task_id, "a1", [{"type": "stream", "name": "stdout", "text": "hi\n"}])
    tail = {"type": "execute_result", "data": {"text/plain": "2"}, "metadata": {}, "execution_count": 1}
    assert store.finish(
        one.task_id, "a1", "end", Reason.OK, status=Status.SUCCEEDED, result=result(one), events=[tail]
    ) == ("ended", [])
    events = store.events(one.task_id)
    assert [event["type"] for event in events] == ["status", "stream", "execute_result", "end"]
    final = store.snapshot(one.task_id).result(events)
    assert final.success
    assert final.stdout == "hi\n"
    assert [event["type"] for event in final.outputs] == ["stream", "execute_result"]


def test_a_resent_submission_counts_once(store: JobStore) -> None:
    """A client that lost the reply and submits again does not queue the job twice."""
    one = request()
    store.submit(one)
    assert store.submit(one).outcome == "known"
    assert len(messages(store)) == 1


def test_duplicate_and_stale_messages_run_nothing(store: JobStore) -> None:
    """Only the current message of a waiting job opens an attempt."""
    one = request()
    store.submit(one)
    begin(store, one.task_id)
    assert isinstance(store.begin(one.task_id, 1, "a1", "w1"), Begun), "the same worker, after a lost reply"
    assert store.begin(one.task_id, 1, "a2", "w2") == "stale"
    store.finish(one.task_id, "a1", "end", Reason.OK, status=Status.SUCCEEDED, result=result(one))
    assert store.begin(one.task_id, 1, "a3", "w2") == "done"
    assert store.begin(str(uuid.uuid4()), 1, "a4", "w2") == "unknown"


def test_a_superseded_attempt_is_fenced_out(store: JobStore) -> None:
    """A worker that was taken for dead can neither write output nor an outcome."""
    one = request()
    store.submit(one)
    begin(store, one.task_id)
    assert store.finish(one.task_id, "a1", "again", Reason.WORKER_LOST, charge="crashes")[0] == "queued"
    begun = begin(store, one.task_id, 2, "a2")
    assert begun.crashes == 1
    assert store.emit(one.task_id, "a1", [{"type": "stream", "name": "stdout", "text": "late"}]) == "fenced"
    assert store.finish(one.task_id, "a1", "end", Reason.OK, status=Status.SUCCEEDED, result=result(one))[0] == "fenced"
    assert store.renew([(one.task_id, "a1"), (one.task_id, "a2")]) == ["fenced", "ok"]
    assert not any("late" in event.get("text", "") for event in store.events(one.task_id))


def test_the_reconciler_cannot_close_a_living_attempt(store: JobStore) -> None:
    """Closing on behalf of a dead worker waits for its lease to run out."""
    one = request()
    store.submit(one)
    begin(store, one.task_id)
    assert store.finish(one.task_id, "a1", "again", Reason.WORKER_LOST, only_if_expired=True)[0] == "alive"
    wait_until(lambda: store.sweep([QUEUE], 60).expired == (one.task_id,), 5, "the lease to run out")
    assert store.finish(one.task_id, "a1", "again", Reason.WORKER_LOST, only_if_expired=True)[0] == "queued"


def test_a_retry_waits_in_redis_and_returns_when_due(store: JobStore) -> None:
    """A retry survives any restart because only Redis holds it."""
    one = request()
    store.submit(one)
    begin(store, one.task_id)
    assert store.finish(one.task_id, "a1", "retry", Reason.TIMEOUT, charge="failures", delay_s=0.2) == ("retrying", [])
    state = store.snapshot(one.task_id).state()
    assert state.status is Status.RETRYING
    assert state.next_try_in_s is not None
    assert state.next_try_in_s <= 0.2
    wait_until(lambda: store.sweep([QUEUE], 60).due == 1, 5, "the retry to be due")
    assert begin(store, one.task_id, 2, "a2").failures == 1


def test_a_lost_message_is_sent_again(store: JobStore) -> None:
    """A job whose message vanished between queue and worker gets a new one, and the old one is void."""
    lost, waiting = request("1"), request("2")
    store.submit(lost)
    store.redis.rpop(QUEUE)
    published = store.now()
    wait_until(lambda: store.now() > published, 5, "the clock to move")
    store.submit(waiting)
    wait_until(lambda: store.sweep([QUEUE], 0).lost == 1, 5, "the lost message to be noticed")
    assert messages(store) == [[waiting.task_id, 1], [lost.task_id, 2]]
    assert store.begin(lost.task_id, 1, "old", "w1") == "stale"


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


def test_identical_cells_share_one_run(store: JobStore) -> None:
    """Later submissions of a cell that is on its way follow it and get its answer."""
    leader, follower, other = request("x"), request("x"), request("x", cache="off")
    assert store.submit(leader).outcome == "queued"
    assert store.submit(follower).leader == leader.task_id
    assert store.submit(other).outcome == "queued", "--no-cache runs for itself"
    begin(store, leader.task_id)
    assert store.snapshot(follower.task_id).status is Status.RUNNING
    ended = store.finish(leader.task_id, "a1", "end", Reason.OK, status=Status.SUCCEEDED, result=result(leader))
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
    ended = store.finish(second.task_id, "a1", "end", Reason.OK, status=Status.SUCCEEDED, result=result(second))
    assert ended == ("ended", [third.task_id])


def test_a_cancelled_follower_leaves_the_leader_alone(store: JobStore) -> None:
    """Cancelling one of several waiters ends only its waiting."""
    leader, follower = request("x"), request("x")
    store.submit(leader)
    store.submit(follower)
    assert store.cancel(follower.task_id) is Status.CANCELLED
    begin(store, leader.task_id)
    ended = store.finish(leader.task_id, "a1", "end", Reason.OK, status=Status.SUCCEEDED, result=result(leader))
    assert ended == ("ended", [])
    assert store.snapshot(follower.task_id).result().reason is Reason.CANCELLED


def test_a_cached_result_replays_without_a_worker(store: JobStore) -> None:
    """A finished identical cell answers at once, with output, age and parent_cell, and queues nothing."""
    store.heartbeat("w1", [QUEUE], "env-1", {}, {"queues": QUEUE}, 60)
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
        one.task_id, "a1", "end", Reason.ERROR, status=Status.FAILED, result=result(one, Status.FAILED, Reason.ERROR)
    )
    assert store.submit(request("x")).outcome == "queued"


def test_cancel_in_every_state_has_one_outcome(store: JobStore) -> None:
    """Queued and retrying jobs end at once, a running one gets the order, an ended one stays as it is."""
    queued, running, retrying = request("1"), request("2"), request("3")
    for one in (queued, running, retrying):
        store.submit(one)
    assert store.cancel(queued.task_id) is Status.CANCELLED
    assert store.begin(queued.task_id, 1, "a", "w") == "done"
    begin(store, running.task_id)
    assert store.cancel(running.task_id) is Status.RUNNING
    assert store.emit(running.task_id, "a1", []) == "cancel"
    begin(store, retrying.task_id)
    store.finish(retrying.task_id, "a1", "retry", Reason.TIMEOUT, charge="failures", delay_s=0)
    assert store.cancel(retrying.task_id) is Status.CANCELLED
    assert store.sweep([QUEUE], 60).due == 0
    assert store.cancel(retrying.task_id) is Status.CANCELLED
    with pytest.raises(JobNotFound):
        store.cancel(str(uuid.uuid4()))


def test_a_job_whose_worker_died_is_next_in_line(store: JobStore) -> None:
    """It had been next already; the ones behind it keep their order and are not taken for lost."""
    first, second, third = request("1"), request("2"), request("3")
    for one in (first, second, third):
        store.submit(one)
    store.redis.rpop(QUEUE)
    begin(store, first.task_id)
    store.finish(first.task_id, "a1", "again", Reason.WORKER_LOST, charge="crashes")
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
    assert store.finish(lost.task_id, "a1", "again", Reason.WORKER_LOST, charge="crashes") == ("cancelled", [])
    assert store.finish(retried.task_id, "a1", "retry", Reason.TIMEOUT, charge="failures", delay_s=0)[0] == "cancelled"
    for one in (lost, retried):
        assert store.snapshot(one.task_id).status is Status.CANCELLED
        assert store.events(one.task_id)[-1]["type"] == "end"


def bury(store: JobStore, one: ExecutionRequest) -> None:
    """Make a dead letter of a job."""
    store.submit(one)
    begin(store, one.task_id)
    final = result(one, Status.DEAD_LETTERED, Reason.MEMORY)
    letter = DeadLetter.of(one, final, "2026-01-01T00:00:00+00:00").as_dict()
    store.finish(one.task_id, "a1", "end", Reason.MEMORY, status=Status.DEAD_LETTERED, result=final, dead_letter=letter)


def test_a_dead_letter_is_listed_and_requeued_once(store: JobStore) -> None:
    """The seed's list holds the entry; requeueing twice runs once."""
    one = request("x = 1")
    bury(store, one)
    raw: Any = store.redis.lrange("dead_letter", 0, -1)
    assert json.loads(raw[0])["code"] == "x = 1"
    assert dead_letter(store, one.task_id) == dead_letters(store)[0]
    assert store.requeue(one.task_id, "1") == "queued"
    assert store.requeue(one.task_id, "1") == "alive"
    assert dead_letters(store) == []
    begun = begin(store, one.task_id, 2, "a2")
    assert (begun.failures, begun.crashes, begun.run) == (0, 0, 1)


def test_a_dead_letter_can_be_requeued_with_other_code(store: JobStore) -> None:
    """Edited code runs under the same id."""
    one = request("x = 1")
    bury(store, one)
    store.requeue(one.task_id, "1", replace(one, code="x = 2"))
    assert begin(store, one.task_id, 2, "a2").request.code == "x = 2"
    assert store.snapshot(one.task_id).state().code_hash == code_hash("x = 2")


def test_dead_letters_are_dropped_purged_and_bounded(redis_server: PrivateServer, store: JobStore) -> None:
    """Drop takes one, purge takes all, and the list trims itself and counts what it trimmed."""
    small = JobStore(redis_server.url, Settings(dead_letters=2))
    first, *others = [request(str(number)) for number in range(4)]
    for one in (first, *others):
        bury(small, one)
    assert [letter.task_id for letter in dead_letters(small)] == [others[2].task_id, others[1].task_id]
    assert small.redis.hget("codeexec:default:counters", "dead_letters_trimmed") == "2"
    assert small.drop(others[2].task_id) == 1
    assert small.drop(others[2].task_id) == 0
    assert small.drop() == 1
    assert dead_letters(small) == []
    small.close()


def test_a_full_queue_refuses(redis_server: PrivateServer, store: JobStore) -> None:
    """Beyond the configured length nothing is queued, and the length is told."""
    small = JobStore(redis_server.url, Settings(max_queue=1))
    small.submit(request("1"))
    refused = small.submit(request("2"))
    assert (refused.outcome, refused.depth) == ("full", 1)
    small.close()


def test_everything_of_a_finished_job_expires(store: JobStore) -> None:
    """No key of a job that ended is left without an expiry."""
    run_to_success(store, request("x"))
    one = request("x", cache="off")
    store.submit(one)
    store.cancel(one.task_id)
    store.submit(request("x"))
    lasting = {
        "codeexec:default:jobs",
        "codeexec:default:finished",
        "codeexec:default:counters",
        QUEUE,  # the messages, dropped by the next worker
    }
    keys: Any = store.redis.keys("*")
    assert {key for key in keys if store.redis.pttl(key) < 0} == lasting


def test_an_unreachable_broker_is_one_line(redis_server: PrivateServer) -> None:
    """The error names the server, without a password."""
    store = JobStore("redis://:secret@127.0.0.1:1/0", Settings())
    with pytest.raises(BrokerUnreachable) as caught:
        store.submit(request())
    assert "127.0.0.1:1" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_client_closed_in_the_middle_of_a_read_is_told_as_such(store: JobStore) -> None:
    """The reading thread gets the named error, or a new connection, and nothing of redis-py's inner workings."""
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(store.events, str(uuid.uuid4()), "0", 1000)
        wait_until(lambda: store.redis.info("clients")["blocked_clients"] >= 1, 10, "the blocking read")
        store.redis.connection_pool.disconnect()
        failure = reading.exception(30)
    assert failure is None or (isinstance(failure, BrokerUnreachable) and "\n" not in str(failure))


def test_output_sent_again_after_a_lost_reply_is_there_once(store: JobStore) -> None:
    """Numbered events are appended once, whether they come again by an emit or with the finish."""
    one = request()
    store.submit(one)
    begin(store, one.task_id)
    lines = [{"type": "stream", "name": "stdout", "text": f"{n}\n"} for n in range(4)]
    assert store.emit(one.task_id, "a1", lines[:2], first=0) == "ok"
    assert store.emit(one.task_id, "a1", lines[:3], first=0) == "ok"
    store.finish(
        one.task_id,
        "a1",
        "end",
        Reason.OK,
        status=Status.SUCCEEDED,
        result=result(one),
        events=lines[2:],
        first_event=2,
    )
    assert store.snapshot(one.task_id).result(store.events(one.task_id)).stdout == "0\n1\n2\n3\n"


def test_a_finish_whose_reply_was_lost_is_told_the_same_again(store: JobStore) -> None:
    """The holder is not taken for a stranger, and nothing is recorded twice."""
    one = request()
    store.submit(one)
    begin(store, one.task_id)
    for _ in range(2):
        verdict, _followers = store.finish(
            one.task_id, "a1", "end", Reason.OK, status=Status.SUCCEEDED, result=result(one)
        )
        assert verdict == "ended"
    assert [event["type"] for event in store.events(one.task_id)].count("end") == 1
    assert store.finish(one.task_id, "a2", "end", Reason.OK, result=result(one))[0] == "fenced"


def test_followers_keep_a_failure_when_its_run_is_requeued(store: JobStore) -> None:
    """The answer and output they were given stay theirs although the leader's record now tells of another run."""
    leader, follower = request("same"), request("same")
    store.submit(leader)
    assert store.submit(follower).outcome == "follow"
    begin(store, leader.task_id)
    store.emit(leader.task_id, "a1", [{"type": "stream", "name": "stdout", "text": "old\n"}])
    failed = result(leader, Status.FAILED, Reason.ERROR)
    store.finish(leader.task_id, "a1", "end", Reason.ERROR, status=Status.FAILED, result=failed)
    assert store.requeue(leader.task_id, store.snapshot(leader.task_id).record["generation"]) == "queued"
    snapshot = store.snapshot(follower.task_id)
    kept = snapshot.result(store.events(snapshot.run_id))
    assert (kept.reason, kept.verdict, kept.stdout) == (Reason.ERROR, "made up", "old\n")
    assert store.redis.pttl(f"{store.prefix}events:{follower.task_id}") > 0


def test_an_heir_fills_the_cache(store: JobStore) -> None:
    """A follower that took over from a cancelled leader answers for later identical cells."""
    leader, heir, later = request("same"), request("same"), request("same")
    store.submit(leader)
    store.submit(heir)
    store.cancel(leader.task_id)
    begin(store, heir.task_id)
    store.finish(
        heir.task_id,
        "a1",
        "end",
        Reason.OK,
        status=Status.SUCCEEDED,
        result=result(heir),
        environment="unknown",
    )
    assert store.submit(later).outcome == "hit"


def test_followers_are_capped_like_the_queue(redis_server: PrivateServer, store: JobStore) -> None:
    """Identical cells are records too: beyond the configured length they are refused."""
    small = JobStore(redis_server.url, Settings(max_queue=2))
    outcomes = [small.submit(request("same")).outcome for _ in range(4)]
    assert outcomes == ["queued", "follow", "follow", "full"]
    small.close()


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


def test_a_clock_set_back_delays_no_retry(store: JobStore) -> None:
    """A retry due in a moment is due in a moment, although the server's clock lost an hour."""
    one = request()
    store.submit(one)
    begin(store, one.task_id)
    store.finish(one.task_id, "a1", "retry", Reason.TIMEOUT, charge="failures", delay_s=0.1)
    store.heartbeat("dead", [QUEUE], "e", {}, {"queues": QUEUE}, 60)
    # an hour later by the clock that was: what the sweep and the record know is from then
    for key in ("workers", f"listeners:{QUEUE}"):
        store.redis.zincrby(f"{store.prefix}{key}", 3_600_000, "dead")
    store.redis.zincrby(f"{store.prefix}retrying", 3_600_000, one.task_id)
    store.redis.set(f"{store.prefix}clock", store.now() + 3_600_000)
    wait_until(lambda: store.sweep([QUEUE], 4.0).due == 1, 10, "the retry")
    for key in ("workers", f"listeners:{QUEUE}"):  # nor does a dead worker live an hour longer
        seen = store.redis.zscore(f"{store.prefix}{key}", "dead")
        assert seen is not None
        assert seen <= store.now()


def test_waiting_for_a_retry_is_no_waiting_time(store: JobStore) -> None:
    """Wait time runs from publication to start; the pause between two tries is on purpose and does not count."""
    job = request("1")
    store.submit(job)
    assert begin(store, job.task_id).waited_ms < 3000
    attempt_record = {"reason": "timeout"}
    store.finish(
        job.task_id, "a1", "retry", Reason.TIMEOUT, attempt_record=attempt_record, charge="failures", delay_s=3.0
    )
    wait_until(lambda: store.sweep([QUEUE], 60).due == 1, 20, "the retry is due")
    again = store.begin(job.task_id, 2, "a2", "w")
    assert isinstance(again, Begun)
    assert again.waited_ms < 3000


def test_a_job_cancelled_in_line_waited_until_then(store: JobStore) -> None:
    """Its card says how long nobody took it."""
    one = request()
    store.submit(one)
    store.redis.hincrby(f"{store.prefix}job:{one.task_id}", "queued_at", -90_000)
    store.cancel(one.task_id)
    snapshot = store.snapshot(one.task_id)
    assert 90 <= snapshot.state().waited_s < 120
    assert snapshot.result().wait_time_ms >= 90_000
    assert snapshot.state().ran_s == 0


def test_between_two_tries_the_last_run_counts(store: JobStore) -> None:
    """While a job waits for its retry, and when it is cancelled then, it ran as long as it last did."""
    one = request()
    store.submit(one)
    begin(store, one.task_id)
    attempt_record = {
        "start": "2026-01-01T00:00:00.000+00:00",
        "end": "2026-01-01T00:00:01.500+00:00",
        "reason": "timeout",
    }
    store.finish(
        one.task_id, "a1", "retry", Reason.TIMEOUT, attempt_record=attempt_record, charge="failures", delay_s=60
    )
    assert store.snapshot(one.task_id).state().ran_s == 1.5
    store.cancel(one.task_id)
    state = store.snapshot(one.task_id).state()
    assert (state.status, state.ran_s) == (Status.CANCELLED, 1.5)
    assert state.waited_s < 60


def test_a_cancelled_job_says_whether_it_ran(store: JobStore) -> None:
    """One that waits for its next try, or whose worker died, did run; one that never left the queue did not."""
    fresh, retrying, lost = request("1"), request("2"), request("3")
    for one in (fresh, retrying, lost):
        store.submit(one)
    for one, action, reason in ((retrying, "retry", Reason.TIMEOUT), (lost, "again", Reason.WORKER_LOST)):
        begin(store, one.task_id)
        store.finish(
            one.task_id, "a1", action, reason, attempt_record={"reason": str(reason)}, charge="failures", delay_s=60
        )
    for one in (fresh, retrying, lost):
        assert store.cancel(one.task_id) is Status.CANCELLED
    told = {one.code: store.snapshot(one.task_id).result().verdict for one in (fresh, retrying, lost)}
    again = "cancelled after 1 run, before it ran again"
    assert told == {"1": "cancelled before it ran", "2": again, "3": again}


def test_an_environment_answers_for_itself_alone(store: JobStore) -> None:
    """Two workers of one queue with other libraries: what one computed is no answer while the other is announced."""

    def announce(environment: str) -> None:
        store.heartbeat(environment, [QUEUE], environment, {}, {"queues": QUEUE}, 60)

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
    store.heartbeat("w1", [QUEUE], "env-1", {}, {"queues": QUEUE}, 60)
    run_to_success(store, request("x"), "env-2")
    other = request("x")
    assert store.submit(other).outcome == "queued", "nothing ran in env-1"
    store.cancel(other.task_id)
    store.heartbeat("w2", [QUEUE], "env-2", {}, {"queues": QUEUE}, 60)
    assert store.submit(request("x")).outcome == "hit"


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
        store.heartbeat(name, [QUEUE], "e", {}, {"queues": QUEUE}, 60)
    store.depart("w1@h", [QUEUE])
    store.redis.zincrby(f"{store.prefix}workers", -90_000_000, "w2@h")  # not heard of for longer than a day
    store.heartbeat("w3@h", [QUEUE], "e", {}, {"queues": QUEUE}, 60)
    assert store.redis.smembers(table) == {members["w3@h"]}
