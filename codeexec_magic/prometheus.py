"""The cluster's figures for Prometheus, as a collector of its client library.

Counts are totals that live in Redis: they go on when workers, or whoever serves the figures, are started anew. The
library's own metric objects count inside one process, so every scrape makes the families from one reading instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from codeexec_magic.store.monitor import Reading
from codeexec_magic.store.samples import from_counters
from codeexec_magic.store.scripts import BUCKETS

#: label names and values of one series
Labels = Mapping[str, object]


class ClusterCollector(Collector):
    """Reads the cluster anew for every scrape.

    Args:
        read: returns what a monitor shows; None: the broker is away.
    """

    def __init__(self, read: Callable[[], Reading | None]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        """All families that have a sample."""
        yield from (family for family in _families(self._read()) if family.samples)


def registry(read: Callable[[], Reading | None]) -> CollectorRegistry:
    """A registry that holds nothing but the cluster; the argument is that of :class:`ClusterCollector`."""
    found = CollectorRegistry()
    found.register(ClusterCollector(read))
    return found


def exposition(reading: Reading | None) -> str:
    """All figures of a reading as text; None: the broker is away."""
    return generate_latest(registry(lambda: reading)).decode()


def _families(reading: Reading | None) -> Iterator[Metric]:
    yield _gauge("codeexec_broker_up", "Whether the broker answers.", [({}, float(reading is not None))])
    if reading is not None:
        yield from _queues(reading)
        yield from _jobs(reading)
        yield from _workers(reading)


def _queues(reading: Reading) -> Iterator[Metric]:
    queues = [({"queue": one.name}, one) for one in reading.queues]
    counters = reading.counters or {}
    yield _gauge("celery_queue_depth", "Jobs that wait in the queue.", ((k, q.depth) for k, q in queues))
    yield _gauge(
        "celery_queue_oldest_wait_seconds",
        "How long the first in line has waited.",
        ((k, q.oldest_s or 0.0) for k, q in queues),
    )
    yield _gauge("codeexec_queue_listeners", "Live workers on the queue.", ((k, q.listeners) for k, q in queues))
    for name, kind, about in (
        ("codeexec_wait_seconds", "wait", "From submission (or due retry) to start, without backoff."),
        ("codeexec_execution_seconds", "run", "How long runs took."),
    ):
        yield _histogram(
            name,
            about,
            (
                (k, from_counters(counters, q.name, kind), counters.get(f"hist_sum:{kind}:{q.name}", 0) / 1000)
                for k, q in queues
            ),
        )


def _jobs(reading: Reading) -> Iterator[Metric]:
    counters = reading.counters or {}
    yield _gauge("codeexec_running", "Jobs that run.", [({}, reading.running)])
    yield _gauge("codeexec_retrying", "Jobs that wait for their next try.", [({}, reading.retrying)])
    yield _gauge("codeexec_dead_letters", "Dead letters that wait for somebody.", [({}, reading.dead)])
    for name, counter, about in (
        ("codeexec_submitted_total", "submitted", "Jobs submitted."),
        ("codeexec_cache_hits_total", "cache_hits", "Submissions answered from the cache."),
        ("codeexec_followed_total", "followed", "Submissions that joined an identical job on its way."),
        ("codeexec_dead_lettered_total", "dead_letters", "Jobs that gave up for good."),
        ("codeexec_messages_lost_total", "messages_lost", "Messages the broker lost, sent again."),
        ("codeexec_messages_rejected_total", "messages_rejected", "Malformed messages that workers turned away."),
    ):
        yield _counter(name, about, [({}, counters.get(counter, 0))])
    split = {name: name.split(":") for name in counters}
    yield _counter(
        "codeexec_jobs_total",
        "Jobs that ended.",
        (
            ({"status": parts[1], "reason": parts[2]}, counters[name])
            for name, parts in sorted(split.items())
            if parts[0] == "ended" and len(parts) == 3
        ),
    )
    yield _counter(
        "codeexec_executions_total",
        "Runs that ended; a job that is retried has several.",
        (
            ({"queue": ":".join(parts[1:-1]), "reason": parts[-1]}, counters[name])
            for name, parts in sorted(split.items())
            if parts[0] == "attempts" and len(parts) >= 3
        ),
    )
    for name, prefix, about in (
        ("codeexec_retries_total", "retries", "Retries, by what made them necessary."),
        ("codeexec_requeued_total", "requeued", "Jobs put back into their queue, by cause."),
    ):
        yield _counter(
            name,
            about,
            (
                ({"reason": parts[1]}, counters[counter])
                for counter, parts in sorted(split.items())
                if parts[0] == prefix and len(parts) == 2
            ),
        )


def _workers(reading: Reading) -> Iterator[Metric]:
    workers = [({"worker": one.id}, one) for one in reading.workers]
    alive = [(labels, one) for labels, one in workers if one.alive]
    yield _gauge("codeexec_workers_up", "Live workers.", [({}, reading.up)])
    yield _gauge("codeexec_worker_up", "Whether the worker lives.", ((k, float(w.alive)) for k, w in workers))
    yield _gauge("codeexec_slots", "Cells the worker runs at a time.", ((k, w.slots) for k, w in alive))
    yield _gauge("codeexec_slots_busy", "Of them in use.", ((k, w.busy) for k, w in alive))
    for name, field, scale, about in (
        ("codeexec_isolation_level", "isolation", 1.0, "Isolation level in force (0 to 2)."),
        ("codeexec_required_isolation_level", "required_isolation", 1.0, "Level below which it takes no cell."),
        ("codeexec_worker_memory_bytes", "memory_mb", 1048576.0, "Memory of the worker's processes."),
    ):
        yield _gauge(
            name,
            about,
            ((k, scale * value) for k, w in alive if (value := _float(w.about.get(field))) is not None),
        )
    yield _summary(
        "codeexec_sandbox_start_seconds",
        "From a worker's order until a sandbox had the code.",
        (
            (k, starts, (_float(w.about.get("sandbox_start_ms")) or 0.0) / 1000)
            for k, w in alive
            if (starts := _float(w.about.get("sandbox_starts"))) is not None
        ),
    )


def _gauge(name: str, about: str, samples: Iterable[tuple[Labels, float]]) -> Metric:
    return _filled(GaugeMetricFamily, name, about, samples)


def _counter(name: str, about: str, samples: Iterable[tuple[Labels, float]]) -> Metric:
    return _filled(CounterMetricFamily, name, about, samples)


def _filled(
    kind: type[GaugeMetricFamily] | type[CounterMetricFamily],
    name: str,
    about: str,
    samples: Iterable[tuple[Labels, float]],
) -> Metric:
    found = list(samples)
    family = kind(name, about, labels=list(found[0][0]) if found else [])
    for labels, value in found:
        family.add_metric(_values(labels), value)
    return family


def _histogram(name: str, about: str, series: Iterable[tuple[Labels, tuple[int, ...], float]]) -> Metric:
    """A histogram from counts by bucket and the sum in seconds."""
    family = HistogramMetricFamily(name, about, labels=["queue"])
    for labels, counts, total in series:
        running, buckets = 0, []
        for bound, count in zip((*(f"{ms / 1000:g}" for ms in BUCKETS), "+Inf"), counts, strict=True):
            running += count
            buckets.append((bound, float(running)))
        family.add_metric(_values(labels), buckets, total)
    return family


def _summary(name: str, about: str, series: Iterable[tuple[Labels, float, float]]) -> Metric:
    """Count and sum."""
    family = SummaryMetricFamily(name, about, labels=["worker"])
    for labels, count, total in series:
        family.add_metric(_values(labels), int(count), total)
    return family


def _values(labels: Labels) -> list[str]:
    """Label values without what a terminal or a dashboard would obey; the library escapes the rest."""
    return ["".join(c if c.isprintable() else " " for c in str(value)[:200]) for value in labels.values()]


def _float(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None
