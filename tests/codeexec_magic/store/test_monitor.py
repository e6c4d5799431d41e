"""Reading the whole cluster, on a real server."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from support import PrivateServer

from codeexec_magic.contract import ExecutionRequest, ExecutionResult, Reason, Status, code_hash
from codeexec_magic.settings import Settings
from codeexec_magic.store import JobStore
from codeexec_magic.store.attempt_end import AttemptEnd
from codeexec_magic.store.dead_letters import DeadLetter
from codeexec_magic.store.monitor import Query, read
from codeexec_magic.store.samples import History, QueueSample, Sample, between, decode, quantile, sample
from codeexec_magic.store.scripts import BUCKETS

QUEUE = "code_execution"


@pytest.fixture
def store(redis_server: PrivateServer) -> Iterator[JobStore]:
    """An empty store."""
    store = JobStore(redis_server.url, Settings(result_ttl_s=60, cache_ttl_s=60))
    store.redis.flushall()
    yield store
    store.close()


def submit(store: JobStore, code: str = "1", **changes: Any) -> str:
    """Queue a job; its id."""
    request = replace(ExecutionRequest(task_id=str(uuid.uuid4()), code=code, cache="off"), **changes)
    assert store.submit(request).outcome == "queued"
    return request.task_id


def finish(store: JobStore, task_id: str, status: Status, reason: Reason) -> None:
    """Begin a queued job and end it."""
    begun = store.begin(task_id, 1, "a1", "w1")
    assert not isinstance(begun, str)
    result = ExecutionResult(task_id, code_hash(begun.request.code), status is Status.SUCCEEDED, status, reason)
    letter = DeadLetter.of(begun.request, result, "").as_dict() if status is Status.DEAD_LETTERED else None
    verdict, _ = store.finish(
        task_id, "a1", AttemptEnd("end", reason, status=status, result=result, dead_letter=letter)
    )
    assert verdict == "ended"


def ids(store: JobStore, **query: Any) -> list[str]:
    """Ids of the jobs a query lists."""
    return [row.state.id for row in read(store, Query(**query)).jobs]


def test_everything_in_one_round_trip(store: JobStore) -> None:
    """Queues, jobs, counters, dead letters and history come with a single command."""
    waiting, ran, died = (submit(store, code) for code in ("waits = 1", "ran = 1", "died = 1"))
    finish(store, ran, Status.SUCCEEDED, Reason.OK)
    finish(store, died, Status.DEAD_LETTERED, Reason.TIMEOUT)
    sample(store, [QUEUE])
    read(store)
    before = store.redis.info("stats")["total_commands_processed"], evalsha(store)
    reading = read(store, Query(samples=10))
    assert evalsha(store) - before[1] == 1
    assert (reading.queues[0].name, reading.queues[0].depth) == (QUEUE, 1)
    assert reading.queues[0].oldest_s is not None
    assert (reading.waiting, reading.running, reading.dead) == (1, 0, 1)
    assert [row.state.id for row in reading.jobs] == [died, ran, waiting]
    assert [row.state.code for row in reading.jobs] == ["died = 1", "ran = 1", "waits = 1"]
    assert [letter.task_id for letter in reading.letters] == [died]
    assert reading.counters is not None
    assert reading.counters["submitted"] == 3
    assert reading.samples[-1].queues[QUEUE].depth == 1
    assert sum(reading.sample().queues[QUEUE].waits) == 2
    assert (reading.sample().succeeded, reading.sample().failed) == (1, 1)


def evalsha(store: JobStore) -> int:
    """Scripts run so far."""
    return int(store.redis.info("commandstats")["cmdstat_evalsha"]["calls"])


def test_the_cost_does_not_grow_with_the_queue(store: JobStore) -> None:
    """However many jobs there are, the server looks at a bounded number of records."""
    for i in range(3):
        submit(store, f"x = {i}")

    def looked() -> int:
        stats = store.redis.info("commandstats")
        return sum(int(stats.get(f"cmdstat_{name}", {}).get("calls", 0)) for name in ("hmget", "hget", "zrank"))

    def cost(**query: Any) -> int:
        before = looked()
        read(store, Query(**query))
        return looked() - before

    pipe = store.redis.pipeline()
    for i in range(5000):
        pipe.zadd(f"{store.prefix}jobs", {f"ghost{i}": i})
        pipe.zadd(f"{store.prefix}finished", {f"ghost{i}": i})
    pipe.execute()
    assert cost() < 600
    assert cost(text="nowhere") < 1000
    assert cost(status="failed", text="nowhere", queue=QUEUE) < 1000


def test_filters_and_pages(store: JobStore) -> None:
    """Jobs are found by status, queue and text, own ones by id, and come in pages."""
    plain = [submit(store, f"plain = {i}") for i in range(5)]
    heavy = submit(store, "é = 'heavy'", queue="code_execution_heavy")
    named = submit(store, "1", label="Nightly <b>")
    finish(store, plain[0], Status.FAILED, Reason.ERROR)
    assert ids(store, status="failed") == [plain[0]]
    assert ids(store, queue="code_execution_heavy") == [heavy]
    assert ids(store, text="nightly <") == [named]
    assert ids(store, text="É = 'he") == [heavy]
    assert ids(store, text=plain[3][:13]) == [plain[3]]
    shouted = submit(store, '"quoted\\" %d [x*] É 😀"', label="ÉTÉ %1 .*")
    for text in ("ÉTÉ %1", "Été %1".upper(), ".*", '"QUOTED\\"', "%d [X*]", "É 😀"):
        assert ids(store, text=text) == [shouted], text
    for text in ("x.*y", "\ud83d", "\x00", '"}]', "%w+%w"):
        assert ids(store, text=text) == [], text
    for index in ("jobs", f"queued:{QUEUE}"):
        store.redis.zrem(f"{store.prefix}{index}", shouted)
    assert ids(store, status="queued", queue=QUEUE) == [*plain[1:], named]
    assert ids(store, source="mine", ids=(plain[2], "gone", plain[1])) == [plain[2], plain[1]]
    assert ids(store, source="none") == []
    pages = [read(store, Query(limit=3, offset=offset)) for offset in (0, 3, 6)]
    assert [len(page.jobs) for page in pages] == [3, 3, 1]
    assert [page.more for page in pages] == [True, True, False]


def test_dead_letters_are_filtered_by_what_they_say(store: JobStore) -> None:
    """By queue and text of any kind; names of fields are no text, and what others put into the list is no letter."""
    odd = submit(store, "x = 'unusual \\\\ é'", queue='odd "é" %d')
    died = submit(store, "fails()")
    for task_id in (died, odd):
        finish(store, task_id, Status.DEAD_LETTERED, Reason.TIMEOUT)
    store.redis.lpush("dead_letter", '{"schema": 1}', "[]", "{")

    def found(**query: Any) -> list[str]:
        return [letter.task_id for letter in read(store, Query(**query)).letters]

    assert found(queue='odd "é" %d') == [odd]
    assert found(queue=QUEUE) == [died]
    assert found(text="Unusual \\\\ é") == [odd]
    assert found(text="code_hash") == []
    assert found(text="timeout") == [odd, died]
    assert found(text="timeout", letters_limit=1, letters_offset=1) == [died]
    assert found(letters_limit=0) == []
    assert read(store).dead == 5


def test_very_many_queues_and_workers(store: JobStore) -> None:
    """Thousands are read at a bounded cost, in an order that does not jump, and counted where they are not listed."""
    now = store.now()
    pipe = store.redis.pipeline()
    for i in range(9000):
        pipe.hset(f"{store.prefix}queues", f"q{i:04d}", "{}")
    for i in range(300):
        pipe.zadd(f"{store.prefix}workers", {f"w{i:03d}": now - i % 7 - (60_000 if i >= 250 else 0)})
        pipe.hset(f"{store.prefix}worker:w{i:03d}", mapping={"slots": "2", "queues": QUEUE})
        for n in range(20):
            pipe.zadd(f"{store.prefix}queued:q{i:04d}", {f"ghost{i}-{n}": now})
    pipe.execute()
    reading = read(store, Query(workers=260))
    assert reading.up == 250
    assert len(reading.queues) == 9002
    assert [one.name for one in reading.queues[:3]] == [QUEUE, f"{QUEUE}_heavy", "q0000"]
    assert [one.id for one in reading.alive] == [f"w{i:03d}" for i in range(250)]
    looked = store.redis.info("commandstats")["cmdstat_hmget"]["calls"]
    read(store, Query(status="queued"))
    assert store.redis.info("commandstats")["cmdstat_hmget"]["calls"] - looked <= 400


def test_a_clock_that_is_set_back(store: JobStore) -> None:
    """Samples from what is now the future neither keep new ones out nor stand in the history."""
    later = store.now() + 3_600_000
    ended = {"succeeded": 0, "failed": 0, "dead_lettered": 0, "cancelled": 0}
    totals = {"running": 0, "retrying": 0, "dead": 0, "submitted": 0, "hits": 0}
    text = json.dumps({"at": later, **totals, "ended": ended, "queues": {}}, separators=(",", ":"))
    store.redis.lpush(f"{store.prefix}samples", text)
    assert [sample(store, [QUEUE]) for _ in range(2)] == [True, False]
    history, reading = History(), read(store, Query(samples=10))
    assert len(reading.samples) == 2
    history.add(decode([text]), Sample(later))
    history.add(reading.samples, reading.sample())
    assert [one.at_ms < later for one in history.samples] == [True]


def test_the_last_pages_are_reached(store: JobStore) -> None:
    """Without a filter every job can be paged to."""
    jobs = [submit(store, f"n = {i}") for i in range(12)]
    pipe = store.redis.pipeline()
    for i in range(1000):
        pipe.zadd(f"{store.prefix}jobs", {f"ghost{i}": 9e12})
    pipe.execute()
    assert ids(store, offset=1005, limit=10) == list(reversed(jobs))[5:]


@pytest.mark.parametrize("value", ["1e400", "nan", "[" * 5000, "-1", "{}", "\x00"])
def test_no_value_of_a_record_stops_a_reading(store: JobStore, value: str) -> None:
    """One damaged job, whatever is damaged about it, hides at most itself."""
    good, bad = submit(store), submit(store)
    names = "submitted_at queued_at started_at runs waited_ms due_at cached_age_ms attempts result request"
    for name in names.split():
        store.redis.hset(f"{store.prefix}job:{bad}", name, value)
    assert good in ids(store)
    assert read(store, Query(samples=5)).waiting == 2


def test_hostile_and_broken_records(store: JobStore) -> None:
    """What cannot be read is named or cut; nothing raises."""
    large = submit(store, "x = '" + "y" * 500_000 + "'")
    finish(store, submit(store, "z = '" + "\\" * 200_000 + "'"), Status.DEAD_LETTERED, Reason.CPU)
    store.redis.hset(f"{store.prefix}job:broken", mapping={"status": "nonsense", "queue": QUEUE})
    store.redis.zadd(f"{store.prefix}jobs", {"broken": 9e12})
    store.redis.lpush("dead_letter", "not json", '{"schema": 99}')
    store.redis.lpush(f"{store.prefix}samples", "[1]", '{"at": "x"}')
    store.redis.hset(f"{store.prefix}counters", "submitted", "many")
    reading = read(store, Query(samples=10))
    found = {row.state.id: row.state.code for row in reading.jobs}
    assert "job broken is damaged" in next(row.state.verdict for row in reading.jobs if row.state.id == "broken")
    assert found[large].startswith("x = 'yyy")
    assert len(found[large]) < 2000
    assert [letter.verdict for letter in reading.letters] == [
        "this dead letter is too large for a list, or damaged: open it"
    ]
    assert reading.samples == ()


def test_samples_are_written_once_a_period(store: JobStore) -> None:
    """However many workers try, a period gets one sample."""
    submit(store)
    assert [sample(store, [QUEUE]) for _ in range(5)] == [True, False, False, False, False]
    assert store.redis.llen(f"{store.prefix}samples") == 1
    assert store.redis.ttl(f"{store.prefix}samples") > 0


def waits(**counts: int) -> tuple[int, ...]:
    """A histogram with these buckets filled (``b1000=3``: three starts that waited up to 1000 ms)."""
    return tuple(counts.get(f"b{bound}", 0) for bound in (*BUCKETS, "inf"))


@pytest.mark.parametrize(
    ("counts", "share", "expected"),
    [
        ({}, 0.5, None),
        ({"b10": 4}, 0.5, 0.005),
        ({"b1000": 10}, 0.5, 0.75),
        ({"b10": 95, "b5000": 5}, 0.95, 0.01),
        ({"binf": 3}, 0.95, 300.0),
    ],
)
def test_quantiles(counts: dict[str, int], share: float, expected: float | None) -> None:
    """A quantile lies in its bucket, between the bounds by proportion."""
    assert quantile(waits(**counts), share) == (None if expected is None else pytest.approx(expected))


def test_history_gives_the_last_minutes_only() -> None:
    """Waits of before the window do not count; a server set up anew counts from zero."""
    old, new = waits(b10=100), waits(b10=100, b1000=10)
    history = History()
    now = Sample(1_000_000, queues={QUEUE: QueueSample(0, 0.0, new)})
    history.add([Sample(700_000, queues={QUEUE: QueueSample(0, 0.0, old)})], now)
    assert history.waits(now) == waits(b1000=10)
    assert between(new, old) == old
    assert [one.at_ms for one in history.samples] == [700_000, 1_000_000]
    later = Sample(1_500_000)
    history.add([], later)
    assert [one.at_ms for one in history.samples] == [1_500_000]


def test_decode_leaves_out_what_it_cannot_read() -> None:
    """Samples of another shape are skipped."""
    assert decode(["", "null", "{}", "[" * 10_000]) == []
