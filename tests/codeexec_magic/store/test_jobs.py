"""The life of a job in the store, on a real server."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from store_jobs import QUEUE, begin, messages, request, result, run_to_success
from support import PrivateServer, wait_until

from codeexec_magic.contract import Reason, Status
from codeexec_magic.errors import BrokerUnreachable, JobNotFound
from codeexec_magic.settings import Settings
from codeexec_magic.store import Begun, JobStore
from codeexec_magic.store.attempt_end import AttemptEnd


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
        one.task_id, "a1", AttemptEnd("end", Reason.OK, status=Status.SUCCEEDED, result=result(one), events=[tail])
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
    store.finish(one.task_id, "a1", AttemptEnd("end", Reason.OK, status=Status.SUCCEEDED, result=result(one)))
    assert store.begin(one.task_id, 1, "a3", "w2") == "done"
    assert store.begin(str(uuid.uuid4()), 1, "a4", "w2") == "unknown"


def test_a_superseded_attempt_is_fenced_out(store: JobStore) -> None:
    """A worker that was taken for dead can neither write output nor an outcome."""
    one = request()
    store.submit(one)
    begin(store, one.task_id)
    assert store.finish(one.task_id, "a1", AttemptEnd("again", Reason.WORKER_LOST, charge="crashes"))[0] == "queued"
    begun = begin(store, one.task_id, 2, "a2")
    assert begun.crashes == 1
    assert store.emit(one.task_id, "a1", [{"type": "stream", "name": "stdout", "text": "late"}]) == "fenced"
    assert (
        store.finish(one.task_id, "a1", AttemptEnd("end", Reason.OK, status=Status.SUCCEEDED, result=result(one)))[0]
        == "fenced"
    )
    assert store.renew([(one.task_id, "a1"), (one.task_id, "a2")]) == ["fenced", "ok"]
    assert not any("late" in event.get("text", "") for event in store.events(one.task_id))


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
    store.finish(retrying.task_id, "a1", AttemptEnd("retry", Reason.TIMEOUT, charge="failures", delay_s=0))
    assert store.cancel(retrying.task_id) is Status.CANCELLED
    assert store.sweep([QUEUE], 60).due == 0
    assert store.cancel(retrying.task_id) is Status.CANCELLED
    with pytest.raises(JobNotFound):
        store.cancel(str(uuid.uuid4()))


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
        AttemptEnd("end", Reason.OK, status=Status.SUCCEEDED, result=result(one), events=lines[2:], first_event=2),
    )
    assert store.snapshot(one.task_id).result(store.events(one.task_id)).stdout == "0\n1\n2\n3\n"


def test_a_finish_whose_reply_was_lost_is_told_the_same_again(store: JobStore) -> None:
    """The holder is not taken for a stranger, and nothing is recorded twice."""
    one = request()
    store.submit(one)
    begin(store, one.task_id)
    for _ in range(2):
        verdict, _followers = store.finish(
            one.task_id, "a1", AttemptEnd("end", Reason.OK, status=Status.SUCCEEDED, result=result(one))
        )
        assert verdict == "ended"
    assert [event["type"] for event in store.events(one.task_id)].count("end") == 1
    assert store.finish(one.task_id, "a2", AttemptEnd("end", Reason.OK, result=result(one)))[0] == "fenced"
