"""The monitor's pictures, without a kernel."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from codeexec_magic.contract import ErrorInfo, Status
from codeexec_magic.errors import DecodeError
from codeexec_magic.magics.remote_queue import body
from codeexec_magic.panel import charts
from codeexec_magic.panel.alarms import alarms
from codeexec_magic.panel.dashboard import Dashboard
from codeexec_magic.panel.job_lists import _job_item, _letter_item
from codeexec_magic.panel.visibility import MARKER
from codeexec_magic.store import JobState
from codeexec_magic.store.dead_letters import DeadLetter
from codeexec_magic.store.monitor import JobRow, QueueReading, Reading
from codeexec_magic.store.queries import WorkerInfo
from codeexec_magic.store.samples import History, QueueSample, Sample
from codeexec_magic.store.scripts import BUCKETS

QUEUE = "code_execution"
NOW = 1_800_000_000_000
EVIL = "<img src=x onerror=alert(1)>\"'&\x1b[2J\u202e"


def worker(name: str = "w1", seen_s: float = 0.5, **about: str) -> WorkerInfo:
    """A worker that lives unless it was not seen."""
    return WorkerInfo(name, seen_s, (QUEUE,), 2, 1, {"isolation": "2", "required_isolation": "1", **about})


def reading(depth: int = 0, oldest_s: float | None = None, **changes: Any) -> Reading:
    """One queue, one worker."""
    base = Reading(NOW, (QueueReading(QUEUE, depth, oldest_s, 1),), workers=(worker(),), counters={})
    return replace(base, **changes)


def past(minutes: float, depth: Any, oldest_s: Any = lambda _: 0.0) -> list[Sample]:
    """A sample every five seconds; ``depth`` and ``oldest_s`` of the seconds before now."""
    ages = [5.0 * i for i in range(int(minutes * 12), 0, -1)]
    return [Sample(NOW - round(a * 1000), queues={QUEUE: QueueSample(depth(a), oldest_s(a))}) for a in ages]


def titles(one: Reading, samples: list[Sample]) -> str:
    """All alarms as one text."""
    return "\n".join(f"{alarm.title}: {alarm.advice}" for alarm in alarms(one, samples))


def test_all_is_well() -> None:
    """A quiet cluster has no banners."""
    assert titles(reading(), past(5, lambda _: 0)) == ""


@pytest.mark.parametrize(
    ("minutes", "depth", "now", "expected"),
    [
        (5.1, lambda _: 101, 150, True),
        (4, lambda _: 101, 150, False),
        (5.1, lambda age: 100 if 100 < age < 106 else 500, 150, False),
        (5.1, lambda _: 101, 100, False),
    ],
)
def test_a_deep_queue(minutes: float, depth: Any, now: int, expected: bool) -> None:
    """More than 100 for five whole minutes is an alarm, with the advice to scale workers."""
    told = titles(reading(now, 3.0), past(minutes, depth))
    assert ("more than 100 jobs have been waiting for 5 minutes" in told) is expected
    assert ("scale workers, not clients" in told) is expected


@pytest.mark.parametrize(("growth", "now", "expected"), [(0.9, 60.0, True), (0.0, 60.0, False), (0.9, 20.0, False)])
def test_a_rising_wait(growth: float, now: float, expected: bool) -> None:
    """A long wait that goes on growing is an alarm; a long one that does not is none."""
    told = titles(reading(5, now), past(3, lambda _: 5, lambda age: now - growth * age / 3))
    assert ("the wait is rising" in told) is expected


def test_other_alarms() -> None:
    """No worker, a queue nobody serves, isolation below what is required, dead letters."""
    assert "No worker is alive; 3 jobs wait: start one" in titles(reading(3, workers=(worker(seen_s=60),)), [])
    lonely = reading(queues=(QueueReading("gpu", 2, 1.0, 0),))
    assert "No worker listens on gpu" in titles(lonely, [])
    weak = reading(workers=(worker(isolation="0", required_isolation="2"),))
    assert "level 0, level 2 is required" in titles(weak, [])
    assert "2 dead letters" in titles(reading(dead=2), [])


def test_figures() -> None:
    """Rates and quantiles come from the difference between now and then."""
    waits = tuple(10 if bound == 1000 else 0 for bound in (*BUCKETS, "inf"))
    counters = {"submitted": 40, "cache_hits": 10, "ended:succeeded:ok": 30, "ended:failed:error": 10}
    counters[f"hist:wait:{QUEUE}:1000"] = 10
    history = History()
    then = Sample(NOW - 60_000, queues={QUEUE: QueueSample()})
    board = Dashboard(reading(counters=counters), history)
    history.add([then], board.now)
    assert board.now.queues[QUEUE].waits == waits
    assert board.done_per_minute == pytest.approx(30)
    assert board.failure_rate == pytest.approx(0.25)
    assert board.hit_rate == pytest.approx(0.25)
    assert board.wait(0.5) == pytest.approx(0.75)
    assert "25 %" in board.kpis()
    assert "0.8 s" in board.queues()
    assert "wait p50 0.8 s" in board.text()


def test_nothing_hostile_gets_out() -> None:
    """Every field from Redis is escaped, in every section and in the text."""
    state = JobState("id" + EVIL, Status.QUEUED, EVIL, label=EVIL, code=EVIL, worker=EVIL)
    letter = DeadLetter(EVIL, EVIL, "", EVIL, EVIL, ErrorInfo(EVIL, EVIL, (EVIL,)), EVIL, (), "", EVIL, (EVIL,), EVIL)
    about = {name: EVIL for name in ("isolation", "version", "memory_mb", "required_isolation")}
    evil = reading(
        queues=(QueueReading(EVIL, 1, 1.0, 0),),
        workers=(WorkerInfo(EVIL, 0.1, (EVIL,), 1, 1, about),),
        jobs=(JobRow(state, 1.0, EVIL),),
        letters=(letter,),
        dead=1,
    )
    board = Dashboard(evil)
    html = board.snapshot_html() + _job_item(evil.jobs[0]).html + _letter_item(letter).html
    assert "<img" not in html
    assert "\x1b" not in html + board.snapshot_text()
    assert "\u202e" not in html + board.snapshot_text()


def test_very_many_queues_and_workers_stay_a_page() -> None:
    """A table shows some, those that matter first, and says how many it leaves out."""
    queues = tuple(QueueReading(f"q{i}", int(i == 400), None, 0) for i in range(500))
    board = Dashboard(reading(queues=queues, workers=tuple(worker(f"w{i}") for i in range(50)), up=80))
    assert board.queues().count("<tr>") == 21
    assert "<td>q400 " in board.queues()
    assert "and 480 more queues" in board.queues()
    assert "and 60 more workers" in board.workers()
    lonely = tuple(QueueReading(f"q{i}", 1, None, 0) for i in range(500))
    assert Dashboard(reading(queues=lonely)).banners().count("cxm-alarm") == 6
    assert "and 494 more alarms" in Dashboard(reading(queues=lonely)).banners()


@pytest.mark.parametrize(
    "damage",
    [
        {"last_output": [[]]}, {"task_id": {}}, {"reason": []}, {"attempts": ["a", None]}, {"last_at": 1}, {"code": 1},
        {"label": None}, {"queue": 5}, {"attempts": {}}, {"error": [1]},
    ],
)  # fmt: skip
def test_a_damaged_letter_is_none(damage: dict[str, Any]) -> None:
    """What does not have the types of a letter is refused where it is read, not where it is drawn."""
    letter = DeadLetter("t", "c", "h", QUEUE, "cpu", None, "", (), "", "", ()).as_dict()
    assert DeadLetter.from_dict(letter)
    with pytest.raises(DecodeError):
        DeadLetter.from_dict(letter | damage)


def test_a_link_makes_one_cell_with_one_first_line() -> None:
    """Whatever a letter's id is, it stays one word on the magic's line."""
    letter = DeadLetter("x\n!rm y", "code", "", QUEUE, "cpu", None, "", (), "", "", ())
    assert "%%remote_dlq requeue &#x27;x !rm y&#x27;\\ncode" in _letter_item(letter).html


def test_a_snapshot_says_when_and_everything() -> None:
    """HTML and text stand for themselves."""
    board = Dashboard(reading(2, 4.0, dead=1))
    html, text = board.snapshot_html(), board.snapshot_text()
    assert "as of 2027-01-15 08:00:00 UTC" in html
    for words in ("Queues", "Workers", "Throughput", "Queue wait", "Dead letters"):
        assert words in html
    assert "2 queued" in text
    assert "w1: 1/2 busy, isolation level 2" in text
    assert "<script" not in html
    some = Dashboard(reading(dead=8, letters=(DeadLetter("t", "c", "", QUEUE, "cpu", None, "", (), "", "", ()),) * 2))
    for told in (some.snapshot_html(), some.snapshot_text()):
        assert "8 dead letters, the latest 2" in told


@pytest.mark.parametrize(("value", "expected"), [(0, 1), (0.3, 0.5), (1, 2), (99, 200), (142, 200), (7000, 10_000)])
def test_axes_end_at_round_numbers(value: float, expected: float) -> None:
    """1, 2 or 5 times a power of ten."""
    assert charts.ceiling(value) == pytest.approx(expected)


def test_the_script_is_a_constant_without_angles() -> None:
    """What the panel runs in a page is one attribute value and cannot end early."""
    value = MARKER.partition('onerror="')[2].rpartition('"')[0]
    assert value
    assert not set('<>"') & set(value)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("%%remote_exec --queue x\nprint(1)", "print(1)"),
        ("%remote_queue", ""),
        ("%%timeit\n1", ""),
        ("x = 1\n%time x", "x = 1\n%time x"),
        ("  \n", ""),
    ],
)
def test_what_of_a_cell_can_run_elsewhere(source: str, expected: str) -> None:
    """Our own first line goes; cells that are only magics are not offered."""
    assert body(source) == expected
