"""The cluster's figures in Prometheus' text format. Pure.

Counts are totals that live in Redis: they go on when workers, or whoever serves this text, are started anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from codeexec_magic.store.monitor import Reading
from codeexec_magic.store.samples import from_counters
from codeexec_magic.store.scripts import BUCKETS

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Labels = Mapping[str, object]


class Text:
    """Collects families of samples."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def family(self, name: str, kind: str, about: str, samples: Iterable[tuple[Labels, float]]) -> None:
        """One metric with its samples; a family without any is left out."""
        found = [(f"{name}{_labels(labels)}", value) for labels, value in samples]
        self._write(name, kind, about, found)

    def histogram(self, name: str, about: str, series: Iterable[tuple[Labels, tuple[int, ...], float]]) -> None:
        """A histogram from counts by bucket and the sum in seconds."""
        found = []
        for labels, counts, total in series:
            running = 0
            for bound, count in zip((*(f"{ms / 1000:g}" for ms in BUCKETS), "+Inf"), counts, strict=True):
                running += count
                found.append((f"{name}_bucket{_labels({**labels, 'le': bound})}", float(running)))
            found.append((f"{name}_sum{_labels(labels)}", total))
            found.append((f"{name}_count{_labels(labels)}", float(running)))
        self._write(name, "histogram", about, found)

    def summary(self, name: str, about: str, series: Iterable[tuple[Labels, float, float]]) -> None:
        """Count and sum."""
        found = []
        for labels, count, total in series:
            found += [(f"{name}_sum{_labels(labels)}", total), (f"{name}_count{_labels(labels)}", count)]
        self._write(name, "summary", about, found)

    def __str__(self) -> str:
        return "\n".join(self._lines) + "\n"

    def _write(self, name: str, kind: str, about: str, samples: list[tuple[str, float]]) -> None:
        if samples:
            self._lines += [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]
            self._lines += [f"{series} {_number(value)}" for series, value in samples]


def exposition(reading: Reading | None) -> str:
    """All figures of a reading; None: the broker is away."""
    text = Text()
    text.family("codeexec_broker_up", "gauge", "Whether the broker answers.", [({}, float(reading is not None))])
    if reading is not None:
        _queues(text, reading)
        _jobs(text, reading)
        _workers(text, reading)
    return str(text)


def _queues(text: Text, reading: Reading) -> None:
    queues = [({"queue": one.name}, one) for one in reading.queues]
    counters = reading.counters or {}
    text.family("celery_queue_depth", "gauge", "Jobs that wait in the queue.", ((k, q.depth) for k, q in queues))
    text.family(
        "celery_queue_oldest_wait_seconds",
        "gauge",
        "How long the first in line has waited.",
        ((k, q.oldest_s or 0.0) for k, q in queues),
    )
    text.family(
        "codeexec_queue_listeners", "gauge", "Live workers on the queue.", ((k, q.listeners) for k, q in queues)
    )
    for name, kind, about in (
        ("codeexec_wait_seconds", "wait", "From submission (or due retry) to start, without backoff."),
        ("codeexec_execution_seconds", "run", "How long runs took."),
    ):
        text.histogram(
            name,
            about,
            (
                (k, from_counters(counters, q.name, kind), counters.get(f"hist_sum:{kind}:{q.name}", 0) / 1000)
                for k, q in queues
            ),
        )


def _jobs(text: Text, reading: Reading) -> None:
    counters = reading.counters or {}
    text.family("codeexec_running", "gauge", "Jobs that run.", [({}, reading.running)])
    text.family("codeexec_retrying", "gauge", "Jobs that wait for their next try.", [({}, reading.retrying)])
    text.family("codeexec_dead_letters", "gauge", "Dead letters that wait for somebody.", [({}, reading.dead)])
    for name, counter, about in (
        ("codeexec_submitted_total", "submitted", "Jobs submitted."),
        ("codeexec_cache_hits_total", "cache_hits", "Submissions answered from the cache."),
        ("codeexec_followed_total", "followed", "Submissions that joined an identical job on its way."),
        ("codeexec_dead_lettered_total", "dead_letters", "Jobs that gave up for good."),
        ("codeexec_messages_lost_total", "messages_lost", "Messages the broker lost, sent again."),
        ("codeexec_messages_rejected_total", "messages_rejected", "Malformed messages that workers turned away."),
    ):
        text.family(name, "counter", about, [({}, counters.get(counter, 0))])
    split = {name: name.split(":") for name in counters}
    text.family(
        "codeexec_jobs_total",
        "counter",
        "Jobs that ended.",
        (
            ({"status": parts[1], "reason": parts[2]}, counters[name])
            for name, parts in sorted(split.items())
            if parts[0] == "ended" and len(parts) == 3
        ),
    )
    text.family(
        "codeexec_executions_total",
        "counter",
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
        text.family(
            name,
            "counter",
            about,
            (
                ({"reason": parts[1]}, counters[counter])
                for counter, parts in sorted(split.items())
                if parts[0] == prefix and len(parts) == 2
            ),
        )


def _workers(text: Text, reading: Reading) -> None:
    workers = [({"worker": one.id}, one) for one in reading.workers]
    alive = [(labels, one) for labels, one in workers if one.alive]
    text.family("codeexec_workers_up", "gauge", "Live workers.", [({}, reading.up)])
    text.family("codeexec_worker_up", "gauge", "Whether the worker lives.", ((k, float(w.alive)) for k, w in workers))
    text.family("codeexec_slots", "gauge", "Cells the worker runs at a time.", ((k, w.slots) for k, w in alive))
    text.family("codeexec_slots_busy", "gauge", "Of them in use.", ((k, w.busy) for k, w in alive))
    for name, field, scale, about in (
        ("codeexec_isolation_level", "isolation", 1.0, "Isolation level in force (0 to 2)."),
        ("codeexec_required_isolation_level", "required_isolation", 1.0, "Level below which it takes no cell."),
        ("codeexec_worker_memory_bytes", "memory_mb", 1048576.0, "Memory of the worker's processes."),
    ):
        text.family(
            name,
            "gauge",
            about,
            ((k, scale * value) for k, w in alive if (value := _float(w.about.get(field))) is not None),
        )
    text.summary(
        "codeexec_sandbox_start_seconds",
        "From a worker's order until a sandbox had the code.",
        (
            (k, starts, (_float(w.about.get("sandbox_start_ms")) or 0.0) / 1000)
            for k, w in alive
            if (starts := _float(w.about.get("sandbox_starts"))) is not None
        ),
    )


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_quoted(value)}"' for name, value in labels.items()) + "}"


def _quoted(value: object) -> str:
    text = "".join(c if c.isprintable() else " " for c in str(value)[:200])
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def _float(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None
