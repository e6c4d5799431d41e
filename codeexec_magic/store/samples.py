"""How the queues stood over the last minutes: samples that workers leave in Redis, and the rates between them.

A sample holds totals that only grow, so two of them give the rate in between whatever happened to those that should
lie there. Waits are histograms; a quantile of a stretch of time is that of the difference of two.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from codeexec_magic.store.jobs import JobStore
from codeexec_magic.store.keys import SAMPLES
from codeexec_magic.store.scripts import BUCKETS

#: seconds between samples, and how many are kept
SAMPLE_S: Final = 5.0
KEPT: Final = round(SAMPLES.expiry_s / SAMPLE_S)
#: what monitors draw (seconds)
SHOWN_S: Final = 300.0

Waits = tuple[int, ...]


@dataclass(frozen=True)
class QueueSample:
    """One queue at one moment."""

    depth: int = 0
    oldest_s: float = 0.0
    waits: Waits = (0,) * (len(BUCKETS) + 1)  #: starts by wait, since the server was set up


@dataclass(frozen=True)
class Sample:
    """All queues at one moment; counts are totals since the server was set up."""

    at_ms: int
    running: int = 0
    retrying: int = 0
    dead: int = 0
    submitted: int = 0
    hits: int = 0
    succeeded: int = 0
    failed: int = 0  #: failed and dead-lettered
    queues: Mapping[str, QueueSample] = field(default_factory=dict)


def sample(store: JobStore, queues: Iterable[str]) -> bool:
    """Leave a sample in Redis unless there is a fresh one; whether it did."""
    period = round(SAMPLE_S * 1000)
    return bool(store.call("sample", period, KEPT, *queues))


def decode(texts: Iterable[str]) -> list[Sample]:
    """Samples from their wire form, oldest first; what cannot be read is left out."""
    found = []
    for text in texts:
        try:
            found.append(_sample(json.loads(text)))
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            continue
    return sorted(found, key=lambda one: one.at_ms)


def from_counters(counters: Mapping[str, int], queue: str, name: str = "wait") -> Waits:
    """A queue's histogram (``wait`` or ``run``) from the counters."""
    return tuple(counters.get(f"hist:{name}:{queue}:{bound}", 0) for bound in (*BUCKETS, "inf"))


def ended(counters: Mapping[str, int], *statuses: str) -> int:
    """How many jobs ended so."""
    return sum(value for name, value in counters.items() if name.startswith(tuple(f"ended:{one}:" for one in statuses)))


def quantile(waits: Sequence[int], share: float) -> float | None:
    """Seconds within which this share of the starts waited, between bounds by proportion; None without any."""
    total = sum(waits)
    if total <= 0:
        return None
    rank, below = share * total, 0.0
    for i, count in enumerate(waits):
        if count and below + count >= rank:
            low = BUCKETS[i - 1] if i else 0
            if i >= len(BUCKETS):
                return BUCKETS[-1] / 1000
            return (low + (BUCKETS[i] - low) * (rank - below) / count) / 1000
        below += count
    return BUCKETS[-1] / 1000


def between(older: Sequence[int], newer: Sequence[int]) -> Waits:
    """The starts between two totals; a server set up anew counts from zero."""
    difference = tuple(new - old for old, new in zip(older, newer, strict=True))
    return tuple(newer) if any(one < 0 for one in difference) else difference


def _sample(data: Any) -> Sample:
    ends = data["ended"]
    queues = {
        str(name): QueueSample(int(one["depth"]), float(one["oldest"]) / 1000, _waits(one["wait"]))
        for name, one in data["queues"].items()
    }
    return Sample(
        at_ms=int(data["at"]),
        running=int(data["running"]),
        retrying=int(data["retrying"]),
        dead=int(data["dead"]),
        submitted=int(data["submitted"]),
        hits=int(data["hits"]),
        succeeded=int(ends["succeeded"]),
        failed=int(ends["failed"]) + int(ends["dead_lettered"]),
        queues=queues,
    )


def _waits(value: Any) -> Waits:
    waits = tuple(int(one) for one in value)
    if len(waits) != len(BUCKETS) + 1:
        raise ValueError("a histogram of another version")
    return waits


class History:
    """The samples of the last minutes, gathered from one reading after the other."""

    def __init__(self) -> None:
        self._samples: dict[int, Sample] = {}

    @property
    def samples(self) -> list[Sample]:
        """Oldest first."""
        return list(self._samples.values())

    def add(self, samples: Iterable[Sample], now: Sample) -> None:
        """Take in what workers wrote, and ``now`` too where they fell silent."""
        # the server's clock may be set back: what lies ahead of it is of no use until it gets there
        ahead = now.at_ms + SAMPLE_S * 1000
        found = {one.at_ms: one for one in samples if one.at_ms <= ahead}
        self._samples = {at: one for at, one in self._samples.items() if at <= ahead}
        latest = max([*found, *self._samples], default=0)
        if now.at_ms - latest >= 1.5 * SAMPLE_S * 1000:
            found[now.at_ms] = now
        oldest = now.at_ms - (SHOWN_S + 2 * SAMPLE_S) * 1000
        kept = self._samples | found
        self._samples = {at: kept[at] for at in sorted(kept) if at >= oldest}

    def since(self, now: Sample, seconds: float) -> Sample | None:
        """The sample from this long ago, or the oldest there is; None without any before ``now``."""
        before = [one for one in self._samples.values() if one.at_ms < now.at_ms]
        old_enough = [one for one in before if now.at_ms - one.at_ms >= seconds * 1000]
        return old_enough[-1] if old_enough else (before[0] if before else None)

    def waits(self, now: Sample, queue: str | None = None, seconds: float = SHOWN_S) -> Waits:
        """Starts by their wait, over the last ``seconds``; of one queue or of all."""
        then = self.since(now, seconds)
        total = [0] * (len(BUCKETS) + 1)
        for name, one in now.queues.items():
            if queue in (None, name):
                old = then.queues.get(name, QueueSample()) if then else QueueSample()
                total = [a + b for a, b in zip(total, between(old.waits, one.waits), strict=True)]
        return tuple(total)
