"""Jobs that wait for their next try, and how long jobs waited and ran."""

from __future__ import annotations

from store_jobs import QUEUE, begin, request
from support import wait_until

from codeexec_magic.contract import Reason, Status
from codeexec_magic.store import Begun, JobStore
from codeexec_magic.store.attempt_end import AttemptEnd


def test_a_retry_waits_in_redis_and_returns_when_due(store: JobStore) -> None:
    """A retry survives any restart because only Redis holds it."""
    one = request()
    store.submit(one)
    begin(store, one.task_id)
    assert store.finish(one.task_id, "a1", AttemptEnd("retry", Reason.TIMEOUT, charge="failures", delay_s=0.2)) == (
        "retrying",
        [],
    )
    state = store.snapshot(one.task_id).state()
    assert state.status is Status.RETRYING
    assert state.next_try_in_s is not None
    assert state.next_try_in_s <= 0.2
    wait_until(lambda: store.sweep([QUEUE], 60).due == 1, 5, "the retry to be due")
    assert begin(store, one.task_id, 2, "a2").failures == 1


def test_a_clock_set_back_delays_no_retry(store: JobStore) -> None:
    """A retry due in a moment is due in a moment, although the server's clock lost an hour."""
    one = request()
    store.submit(one)
    begin(store, one.task_id)
    store.finish(one.task_id, "a1", AttemptEnd("retry", Reason.TIMEOUT, charge="failures", delay_s=0.1))
    store.heartbeat("dead", [QUEUE], "e", {}, {"queues": QUEUE})
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
        job.task_id,
        "a1",
        AttemptEnd("retry", Reason.TIMEOUT, attempt_record=attempt_record, charge="failures", delay_s=3.0),
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
        one.task_id,
        "a1",
        AttemptEnd("retry", Reason.TIMEOUT, attempt_record=attempt_record, charge="failures", delay_s=60),
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
            one.task_id,
            "a1",
            AttemptEnd(action, reason, attempt_record={"reason": str(reason)}, charge="failures", delay_s=60),
        )
    for one in (fresh, retrying, lost):
        assert store.cancel(one.task_id) is Status.CANCELLED
    told = {one.code: store.snapshot(one.task_id).result().verdict for one in (fresh, retrying, lost)}
    again = "cancelled after 1 run, before it ran again"
    assert told == {"1": "cancelled before it ran", "2": again, "3": again}
