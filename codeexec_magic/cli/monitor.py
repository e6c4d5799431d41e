"""``codeexec jobs`` and ``codeexec queue``: what there is and how it stands."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from codeexec_magic.cli.root import client
from codeexec_magic.cli.terminal import as_json, echo, line, seconds, status, table
from codeexec_magic.display.tables import first_line
from codeexec_magic.panel.dashboard import Dashboard, percent
from codeexec_magic.store import JobState
from codeexec_magic.store.monitor import Query, read
from codeexec_magic.store.samples import SAMPLE_S, SHOWN_S, History


@click.command()
@click.option("--limit", "-n", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many.")
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
@click.pass_obj
def jobs(broker: str | None, limit: int, json_: bool) -> None:
    """List the latest jobs, newest first."""
    with client(broker) as connection:
        found = connection.jobs(limit)
    if json_:
        as_json([_job_facts(job) for job in found])
    elif not found:
        echo("no jobs")
    else:
        rows = [
            (
                line(job.id[:8]),
                status(job.status),
                line(job.queue, 60),
                "cached" if job.cached else seconds(job.ran_s),
                seconds(job.waited_s),
                f"{job.attempt}" + (f" (next in {seconds(job.next_try_in_s)})" if job.next_try_in_s else ""),
                line(job.worker or "-", 60),
                line(first_line(job), 60),
            )
            for job in found
        ]
        table(("ID", "STATUS", "QUEUE", "RAN", "WAITED", "RUN", "WORKER", "CODE"), rows)


def _job_facts(job: JobState) -> dict[str, Any]:
    facts = asdict(job)
    return {"task_id": facts.pop("id"), **facts}  # the name that every other command uses


@click.command()
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
@click.pass_obj
def queue(broker: str | None, json_: bool) -> None:
    """Show every queue and every worker, how long jobs wait, and what needs attention."""
    with client(broker) as connection:
        reading = read(connection.store, Query(samples=round(SHOWN_S / SAMPLE_S) + 2, source="none", letters_limit=0))
        history = History()
        history.add(reading.samples, reading.sample())
        board = Dashboard(reading, history, embedded=connection.embedded)
    if json_:
        as_json(_facts(board))
        return
    _totals(board)
    echo()
    _queue_table(board)
    echo()
    _worker_table(board)


def _totals(board: Dashboard) -> None:
    reading = board.reading
    rates = ((board.failure_rate, "failed"), (board.hit_rate, "cached"))
    recent = [f"{percent(share)} {what}" for share, what in rates if share is not None]
    echo(
        f"{reading.waiting} queued, {reading.running} running, {reading.retrying} retrying, "
        f"{reading.dead} dead-lettered" + (f"; last 5 minutes: {', '.join(recent)}" if recent else "")
    )
    for alarm in board.alarms:
        echo(line(f"{alarm.glyph} {alarm.title} → {alarm.advice}"), fg="yellow")


def _queue_table(board: Dashboard) -> None:
    table(
        ("QUEUE", "WAITING", "OLDEST", "WAIT P50", "WAIT P95", "WORKERS"),
        [
            (
                line(one.name, 60),
                str(one.depth),
                seconds(one.oldest_s),
                seconds(board.wait(0.5, one.name)),
                seconds(board.wait(0.95, one.name)),
                str(one.listeners),
            )
            for one in board.reading.queues
        ],
    )


def _worker_table(board: Dashboard) -> None:
    if not board.reading.alive:
        echo("0 workers: start one with 'codeexec worker'")
        return
    table(
        ("WORKER", "BUSY", "ISOLATION", "SEEN", "MEMORY", "VERSION", "QUEUES"),
        [
            (
                line(one.id, 60),
                f"{one.busy}/{one.slots}",
                f"level {line(one.about.get('isolation', '?'), 8)}",
                f"{seconds(one.seen_s)} ago",
                f"{line(one.about.get('memory_mb', '?'), 12)} MB",
                line(one.about.get("version", ""), 16),
                line(",".join(one.queues)),
            )
            for one in board.reading.alive
        ],
    )


def _facts(board: Dashboard) -> dict[str, Any]:
    reading = board.reading
    return {
        "queues": [
            {
                **asdict(one),
                "wait_p50_s": board.wait(0.5, one.name),
                "wait_p95_s": board.wait(0.95, one.name),
            }
            for one in reading.queues
        ],
        "workers": [{**asdict(one), "alive": one.alive} for one in reading.workers],
        "running": reading.running,
        "retrying": reading.retrying,
        "dead_letters": reading.dead,
        "done_per_minute": board.done_per_minute,
        "failure_rate": board.failure_rate,
        "hit_rate": board.hit_rate,
        "alarms": [{"title": one.title, "advice": one.advice} for one in board.alarms],
        "counters": reading.counters,
    }
