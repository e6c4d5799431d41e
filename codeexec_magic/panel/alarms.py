"""What needs somebody's attention: the conditions of ``deploy/alert-rules.yml``, seen from a notebook. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from codeexec_magic.display.theme import plural, seconds
from codeexec_magic.hostile_text import one_line
from codeexec_magic.store.monitor import Reading
from codeexec_magic.store.samples import SAMPLE_S, Sample

#: a queue longer than this, for this long, is an alarm (jobs, seconds)
DEEP: Final = 100
DEEP_FOR_S: Final = 300.0
#: a first in line that waits longer than this, while the wait grows by this much a second, is one (seconds)
LONG_WAIT_S: Final = 30.0
GROWTH: Final = 0.1
ADVICE: Final = "scale workers, not clients"


@dataclass(frozen=True)
class Alarm:
    """One banner."""

    kind: str  #: ``failed`` or ``warn`` or ``dead_lettered``
    glyph: str
    title: str
    advice: str


def alarms(reading: Reading, samples: Sequence[Sample], *, embedded: bool = False) -> list[Alarm]:
    """Everything that is wrong, the worst first.

    Args:
        reading: how things are.
        samples: the last minutes, oldest first.
        embedded: on the embedded cluster.
    """
    found = []
    start = "%remote_cluster restart" if embedded else "codeexec worker"
    if not reading.alive:
        waits = f"; {_wait(reading.waiting)}" if reading.waiting else ""
        found.append(Alarm("failed", "✕", f"No worker is alive{waits}", f"start one: {start}"))
    for queue in reading.queues:
        if queue.depth and not queue.listeners and reading.alive:
            title = f"No worker listens on {one_line(queue.name, 40)}, where {_wait(queue.depth)}"
            found.append(Alarm("failed", "✕", title, f"start one with -Q {one_line(queue.name, 40)}"))
        if deep(queue.name, reading, samples):
            title = (
                f"{one_line(queue.name, 40)}: more than {DEEP} jobs have been waiting for 5 minutes (now {queue.depth})"
            )
            found.append(Alarm("warn", "▲", title, ADVICE))
        elif rising(queue.name, reading, samples):
            title = f"{one_line(queue.name, 40)}: the wait is rising (first in line for {seconds(queue.oldest_s or 0)})"
            found.append(Alarm("warn", "▲", title, ADVICE))
    for worker in reading.alive:
        level, needed = worker.about.get("isolation", ""), worker.about.get("required_isolation", "")
        if level.isdigit() and needed.isdigit() and int(level) < int(needed):
            title = f"{one_line(worker.id, 60)} isolates at level {level}, level {needed} is required"
            found.append(Alarm("failed", "⚠", title, "codeexec doctor tells what this machine lacks"))
    if reading.dead:
        title = f"{plural(reading.dead, 'dead letter')}: jobs that gave up for good"
        found.append(Alarm("dead_lettered", "☠", title, "requeue, edit or drop them"))
    return found


def _wait(number: int) -> str:
    return f"{plural(number, 'job')} wait{'s' if number == 1 else ''}"


def deep(queue: str, reading: Reading, samples: Sequence[Sample]) -> bool:
    """Whether the queue has been longer than :data:`DEEP` for the whole of :data:`DEEP_FOR_S`."""
    recent = [one for one in samples if reading.now_ms - one.at_ms <= (DEEP_FOR_S + SAMPLE_S) * 1000]
    if not recent or reading.now_ms - recent[0].at_ms < (DEEP_FOR_S - SAMPLE_S) * 1000:
        return False
    depths = [one.queues[queue].depth if queue in one.queues else 0 for one in recent]
    now = next((one.depth for one in reading.queues if one.name == queue), 0)
    return all(depth > DEEP for depth in (*depths, now))


def rising(queue: str, reading: Reading, samples: Sequence[Sample]) -> bool:
    """Whether the first in line has waited long, and longer with every sample of the last minutes."""
    now = next((one.oldest_s or 0.0 for one in reading.queues if one.name == queue), 0.0)
    if now <= LONG_WAIT_S:
        return False
    points = [
        ((one.at_ms - reading.now_ms) / 1000, one.queues[queue].oldest_s if queue in one.queues else 0.0)
        for one in samples
        if reading.now_ms - one.at_ms <= DEEP_FOR_S * 1000
    ]
    return len(points) >= 6 and slope([*points, (0.0, now)]) > GROWTH


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Least squares: how much y grows per x."""
    n = len(points)
    mean_x, mean_y = sum(x for x, _ in points) / n, sum(y for _, y in points) / n
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0
