"""Samples, and how they are taken: always in turns, so that drift of the machine does not decide."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Call = Callable[[], object]


@dataclass
class Series:
    """Samples of one thing, in rounds. Times are milliseconds unless ``unit`` says otherwise."""

    name: str
    unit: str = "ms"
    rounds: list[list[float]] = field(default_factory=list)

    @property
    def samples(self) -> list[float]:
        """All of them, sorted."""
        return sorted(sample for one in self.rounds for sample in one)

    @property
    def medians(self) -> list[float]:
        """The median of each round."""
        return [statistics.median(one) for one in self.rounds]

    @property
    def p50(self) -> float:
        """The median of all samples."""
        return statistics.median(self.samples)

    @property
    def p95(self) -> float:
        """The value that 95 of 100 samples do not exceed."""
        samples = self.samples
        return samples[min(len(samples) - 1, round(0.95 * (len(samples) - 1)))]

    def as_dict(self) -> dict[str, Any]:
        """For the JSON file."""
        shown = {"unit": self.unit, "count": len(self.samples), "p50": self.p50, "p95": self.p95}
        return {**shown, "round_medians": self.medians}


@dataclass(frozen=True)
class Ratio:
    """How many times one thing is another, paired by round."""

    middle: float
    low: float
    high: float

    @classmethod
    def of(cls, above: Series, below: Series) -> Ratio:
        """Median, lowest and highest ratio of the medians of the same rounds."""
        ratios = [a / b for a, b in zip(above.medians, below.medians, strict=True)]
        return cls(statistics.median(ratios), min(ratios), max(ratios))

    def __str__(self) -> str:
        return f"{_short(self.middle)} x ({_short(self.low)} - {_short(self.high)})"


def _short(number: float) -> str:
    return f"{number:.2g}" if number < 10 else f"{number:.0f}"


def timed(call: Call) -> float:
    """Milliseconds of one call."""
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1000


def in_turns(calls: Mapping[str, Call], rounds: int, each: Mapping[str, int] | int, gap_s: float) -> dict[str, Series]:
    """Time every call in every round: A B C A B C ...

    Args:
        calls: what to time, by name.
        rounds: how often all of them have their turn.
        each: calls in one turn, for all or by name.
        gap_s: pause before every call; 0: as fast as they come.
    """
    series = {name: Series(name) for name in calls}
    for call in calls.values():
        call()  # the first one of a kind pays for connections and imports
    for _ in range(rounds):
        for name, call in calls.items():
            count = each if isinstance(each, int) else each[name]
            gc.collect()
            taken = []
            for _ in range(count):
                if gap_s:
                    time.sleep(gap_s)
                taken.append(timed(call))
            series[name].rounds.append(taken)
    return series
