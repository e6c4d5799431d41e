"""The whole cluster at one moment, read in one round trip whose cost does not grow with the number of jobs."""

from __future__ import annotations

import json
import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from codeexec_magic.store.dead_letters import DeadLetter, readable
from codeexec_magic.store.jobs import JobStore
from codeexec_magic.store.queries import WorkerInfo
from codeexec_magic.store.samples import QueueSample, Sample, decode, ended, from_counters
from codeexec_magic.store.snapshot import JobState, Snapshot

#: in the order in which the script reads them
_FIELDS = """status queue label worker submitted_at queued_at started_at finished_at runs failures crashes due_at
waited_ms reason leader cached_age_ms cancel attempts code_hash""".split()  # noqa: SIM905, one line per name hides the order
_PASSED = "samples source offset limit letters_offset letters_limit workers".split()  # noqa: SIM905
_ASCII_LOWER = {ord(c): c.lower() for c in string.ascii_uppercase}
_CODE = re.compile(r'"code":\s*"((?:[^"\\]|\\.)*)')


@dataclass(frozen=True)
class Query:
    """What to read beside the totals."""

    samples: int = 0  #: newest samples of the history
    source: str = "all"  #: jobs: ``all``, ``mine`` (those in ``ids``) or ``none``
    ids: tuple[str, ...] = ()
    status: str = ""  #: only jobs of this status
    queue: str = ""  #: only of this queue
    text: str = ""  #: only with this in their id, label, worker, reason or the beginning of their code
    offset: int = 0
    limit: int = 12
    letters_offset: int = 0
    letters_limit: int = 6
    workers: int = 200  #: of these, the ones heard of last

    def as_json(self) -> str:
        """What the script gets."""
        text = _speakable(self.text)
        # only ASCII letters are folded by the server, others as Python does: either may be what was meant
        needles = sorted({text.translate(_ASCII_LOWER), text.lower()}) if text else []
        data = {
            **{name: getattr(self, name) for name in _PASSED},
            "status": _speakable(self.status),
            "queue": _speakable(self.queue),
            "queue_json": _in_json(_speakable(self.queue)),
            "needles": [[needle, _in_json(needle)] for needle in needles],
            "ids": [_speakable(one) for one in self.ids[:200]],
        }
        return json.dumps(data)


@dataclass(frozen=True)
class QueueReading:
    """One queue."""

    name: str
    depth: int
    oldest_s: float | None
    listeners: int


@dataclass(frozen=True)
class JobRow:
    """One job in a list."""

    state: JobState
    age_s: float  #: since it was submitted
    tail: str = ""  #: the last line a running one wrote


@dataclass(frozen=True)
class Reading:
    """What a monitor shows."""

    now_ms: int
    queues: tuple[QueueReading, ...] = ()
    running: int = 0
    retrying: int = 0
    dead: int = 0
    known: int = 0  #: jobs that are remembered
    workers: tuple[WorkerInfo, ...] = ()  #: those that live by name, then the others, the last one heard first
    counters: Mapping[str, int] | None = None
    samples: tuple[Sample, ...] = ()  #: oldest first
    jobs: tuple[JobRow, ...] = ()
    more: bool = False  #: there are jobs after these
    letters: tuple[DeadLetter, ...] = ()
    up: int = 0  #: workers heard of lately, also those that are not listed

    @property
    def waiting(self) -> int:
        """Jobs in all queues."""
        return sum(queue.depth for queue in self.queues)

    @property
    def alive(self) -> list[WorkerInfo]:
        """Workers heard of lately."""
        return [worker for worker in self.workers if worker.alive]

    def sample(self) -> Sample:
        """This moment as a sample of the history."""
        counters = self.counters or {}
        return Sample(
            at_ms=self.now_ms,
            running=self.running,
            retrying=self.retrying,
            dead=self.dead,
            submitted=counters.get("submitted", 0),
            hits=counters.get("cache_hits", 0),
            succeeded=ended(counters, "succeeded"),
            failed=ended(counters, "failed", "dead_lettered"),
            queues={
                one.name: QueueSample(one.depth, one.oldest_s or 0.0, from_counters(counters, one.name))
                for one in self.queues
            },
        )


def read(store: JobStore, query: Query | None = None) -> Reading:
    """Read everything in one round trip.

    Raises:
        ClusterError: the broker is away.
    """
    answer = store.call("monitor", (query or Query()).as_json())
    now, queues, totals, workers, counters, samples, jobs, more, letters = answer
    return Reading(
        now_ms=int(now),
        queues=tuple(
            QueueReading(name, int(depth), max(0.0, (now - float(first)) / 1000) if first else None, int(listeners))
            for name, depth, first, listeners in queues
        ),
        running=int(totals[0]),
        retrying=int(totals[1]),
        dead=int(totals[2]),
        known=int(totals[3]),
        workers=tuple(sorted((_worker(name, seen, about, now) for name, seen, about in workers), key=_order)),
        up=int(totals[4]),
        counters=_counters(counters),
        samples=tuple(decode(samples)),
        jobs=tuple(_row(one, now) for one in jobs),
        more=bool(more),
        letters=tuple(letter for one in letters if (letter := readable(one)) is not None),
    )


def _worker(name: str, seen: str, flat: Sequence[str], now: int) -> WorkerInfo:
    record = dict(zip(flat[::2], flat[1::2], strict=True))
    names = tuple(one for one in record.get("queues", "").split(",") if one)
    slots, busy = (_whole(record.get(key)) for key in ("slots", "busy"))
    return WorkerInfo(name, max(0.0, (now - float(seen)) / 1000), names, slots, busy, record)


def _order(worker: WorkerInfo) -> tuple[bool, float, str]:
    """By name while they live: which one was heard of last changes all the time, and rows would jump."""
    return (not worker.alive, 0.0 if worker.alive else worker.seen_s, worker.id)


def _speakable(text: str) -> str:
    """Without halves of characters, which no server takes."""
    return text[:200].encode("utf-8", "replace").decode()


def _in_json(text: str) -> str:
    return json.dumps(text)[1:-1]


def _row(answer: Any, now: int) -> JobRow:
    task_id, own, shown, place, listeners, request, result, tail = answer
    record, run = _record(own), _record(shown)
    (run if record.get("leader") else record)["result"] = result
    state = Snapshot(task_id, record, run, int(place), int(listeners), now).state()
    state = replace(state, code=_code(request), retries=_retries(request))
    return JobRow(state, max(0.0, now / 1000 - state.submitted_at), _last_line(tail))


def _record(values: Sequence[str | None]) -> dict[str, str]:
    return {name: value for name, value in zip(_FIELDS, values, strict=False) if value is not None}


def _code(request: str) -> str:
    """The code, or its beginning, from the beginning of a request."""
    found = _CODE.search(request)
    if found is None:
        return ""
    # an escape that was cut in two is no JSON
    for cut in range(7):
        try:
            return str(json.loads(f'"{found[1][: len(found[1]) - cut]}"'))
        except ValueError:
            continue
    return ""


def _retries(request: str) -> int:
    found = re.search(r'"retries":\s*(\d{1,3})[,}]', request)
    return int(found[1]) if found else 3


def _last_line(event: str) -> str:
    """The last line of a stream event."""
    try:
        data = json.loads(event) if event else {}
    except (ValueError, RecursionError):
        return ""
    if not isinstance(data, dict) or data.get("type") != "stream" or not isinstance(data.get("text"), str):
        return ""
    lines = [line for line in re.split(r"[\r\n]", data["text"][-2000:]) if line.strip()]
    return lines[-1].strip() if lines else ""


def _counters(flat: Sequence[str]) -> dict[str, int]:
    return {name: _whole(value) for name, value in zip(flat[::2], flat[1::2], strict=True)}


def _whole(text: str | None) -> int:
    try:
        return int(float(text or 0))
    except (ValueError, OverflowError):
        return 0
