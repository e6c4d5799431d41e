"""Records that somebody else damaged: every reader survives them, and says which job it is about."""

from __future__ import annotations

import contextlib
import io
import json
from typing import Any

import pytest
from store_jobs import QUEUE, begin, request, run_to_success

from codeexec_magic import Client
from codeexec_magic.cli.root import call
from codeexec_magic.contract import Status
from codeexec_magic.errors import DecodeError
from codeexec_magic.store import Begun, JobStore
from codeexec_magic.store.monitor import Query, read
from worker.reconciler import Reconciler

pytestmark = pytest.mark.slow

FIELDS = """
status queue label code_hash submitted_at queued_at started_at finished_at request result attempts runs failures crashes
waited_ms due_at generation attempt worker leader cached_age_ms reason cancel sent flight cache_key
""".split()  # noqa: SIM905, a list of words reads better
VALUES: tuple[str | bytes, ...] = (
    "",
    "nonsense",
    "-1",
    "nan",
    "1e400",
    "9" * 30,
    "[]",
    '{"schema": 1}',
    "[" * 100_000,
    json.dumps({"schema": 1, "task_id": "x", "code": "1", "retry_waits_s": [10**400]}),
    json.dumps({"start": 1, "end": [], "execution_time_ms": "long", "isolation": [], "attempts": 3}),
    '{"start": "2026-01-01T00:00:00", "end": "2026-01-01T00:00:00+00:00"}',
    b"\xff\xfe\x00",
)


def look_everywhere(store: JobStore, *ids: str) -> None:
    """Every reader reads the records of these jobs, and lists jobs with them among the others."""
    with Client(store.url) as client:
        assert {state.id for state in client.jobs()} >= set(ids)
        for task_id in ids:
            job = client.job(task_id)
            assert task_id in repr(job)
            assert job._repr_html_()
            if job.status.terminal:
                assert store.snapshot(task_id).result().task_id == task_id
    assert {row.state.id for row in read(store, Query(limit=50)).jobs} >= set(ids)
    for options in ((), ("--json",)):
        listed = io.StringIO()
        with contextlib.redirect_stdout(listed):
            assert call(("--broker", store.url, "jobs", *options)) == 0
        assert all(task_id[:8] in listed.getvalue() for task_id in ids)


@pytest.mark.parametrize("field", FIELDS)
def test_a_damaged_field_stops_no_reader(store: JobStore, field: str) -> None:
    """Whatever one field of a finished or a waiting job holds, all readers go on."""
    sound, ended, waiting = request("sound"), request("a"), request("b")
    store.submit(sound)
    run_to_success(store, ended)
    store.submit(waiting)
    for value in (*VALUES, None):
        for one in (ended, waiting):
            if value is None:
                store.redis.hdel(f"{store.prefix}job:{one.task_id}", field)
            else:
                store.redis.hset(f"{store.prefix}job:{one.task_id}", field, value)
        look_everywhere(store, ended.task_id, waiting.task_id)


def test_a_damaged_job_is_not_waited_for(store: JobStore) -> None:
    """Whoever waits for the result of a job whose status was damaged gets an answer."""
    waiting = request()
    store.submit(waiting)
    store.redis.hset(f"{store.prefix}job:{waiting.task_id}", "status", "nonsense")
    with Client(store.url) as client:
        assert f"job {waiting.task_id} is damaged" in client.job(waiting.task_id).result(30).verdict


@pytest.mark.parametrize("field", ["status", "result"])
def test_the_damage_is_told(store: JobStore, field: str) -> None:
    """A job whose outcome cannot be read has failed, and the reason names it."""
    one = request()
    run_to_success(store, one)
    store.redis.hset(f"{store.prefix}job:{one.task_id}", field, "nonsense")
    told = store.snapshot(one.task_id).result()
    assert (told.status, told.success) == (Status.FAILED, False)
    assert f"job {one.task_id} is damaged" in told.verdict


def test_a_key_of_another_type_stops_no_reader(store: JobStore) -> None:
    """Not even a record that is no hash."""
    one, sound = request(), request("sound")
    for each in (one, sound):
        store.submit(each)
    store.redis.delete(f"{store.prefix}job:{one.task_id}")
    store.redis.lpush(f"{store.prefix}job:{one.task_id}", "x")
    look_everywhere(store, one.task_id)
    assert store.begin(one.task_id, 1, "a", "w") == "unknown"
    assert isinstance(store.begin(sound.task_id, 1, "a", "w"), Begun)


@pytest.mark.parametrize("value", VALUES)
def test_a_damaged_record_stops_no_repair(store: JobStore, value: str | bytes) -> None:
    """The reconciler goes on with the jobs behind it; a worker refuses it or runs it."""
    for field in FIELDS:
        store.redis.flushdb()
        broken, lost = request("broken"), request("sound")
        for one in (broken, lost):
            store.submit(one)
            begin(store, one.task_id)
        store.redis.hset(f"{store.prefix}job:{broken.task_id}", field, value)
        store.orphan("a1")
        store.redis.zadd(f"{store.prefix}running", dict.fromkeys((broken.task_id, lost.task_id), 0))
        reconciler = Reconciler(store, "w", lambda *_: None, lambda _: None, lambda _: [])
        reconciler.step()
        assert store.snapshot(lost.task_id).status is Status.QUEUED, field
        waiting = request("waiting")
        store.submit(waiting)
        store.redis.hset(f"{store.prefix}job:{waiting.task_id}", field, value)
        store.redis.delete(QUEUE)
        store.sweep([QUEUE], 0)
        with contextlib.suppress(DecodeError):
            store.begin(waiting.task_id, 1, "a2", "w")
        store.cancel(waiting.task_id)


def test_a_damaged_dead_letter_is_listed_by_its_id(store: JobStore) -> None:
    """The list goes on; opening it says what is wrong in one line."""
    entry: dict[str, Any] = {"schema": 1, "task_id": "0123-abc", "attempts": 7}
    store.redis.lpush("dead_letter", json.dumps(entry))
    store.redis.hset(f"{store.prefix}dead_letter:index", "0123-abc", json.dumps(entry))
    with Client(store.url) as client:
        assert [letter.task_id for letter in client.dead_letters()] == ["0123-abc"]
        with pytest.raises(DecodeError, match="0123-abc is damaged"):
            client.dead_letter("0123-abc")
