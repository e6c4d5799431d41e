"""``codeexec jobs`` and ``codeexec queue``: what there is and how it stands."""

from __future__ import annotations

from dataclasses import asdict

import click

from codeexec_magic.cli.root import client
from codeexec_magic.cli.terminal import as_json, seconds, status, table


@click.command()
@click.option("--limit", "-n", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many.")
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
@click.pass_obj
def jobs(broker: str | None, limit: int, json_: bool) -> None:
    """List the latest jobs, newest first."""
    with client(broker) as connection:
        found = connection.jobs(limit)
    if json_:
        as_json([asdict(job) for job in found])
    elif not found:
        click.echo("no jobs")
    else:
        rows = [
            (
                job.id[:8],
                status(job.status),
                job.queue,
                "cached" if job.cached else seconds(job.ran_s),
                seconds(job.waited_s),
                f"{job.attempt}" + (f" (next in {seconds(job.next_try_in_s)})" if job.next_try_in_s else ""),
                job.worker or "-",
                job.label or _first_line(job.code),
            )
            for job in found
        ]
        table(("ID", "STATUS", "QUEUE", "RAN", "WAITED", "RUN", "WORKER", "CODE"), rows)


@click.command()
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
@click.pass_obj
def queue(broker: str | None, json_: bool) -> None:
    """Show every queue and every worker."""
    with client(broker) as connection:
        queues, workers = connection.queues(), connection.workers()
    if json_:
        as_json({"queues": [asdict(one) for one in queues], "workers": [asdict(one) for one in workers]})
        return
    table(
        ("QUEUE", "WAITING", "OLDEST", "WORKERS"),
        [(one.name, str(one.depth), seconds(one.oldest_s), str(one.listeners)) for one in queues],
    )
    click.echo()
    if not any(one.alive for one in workers):
        click.echo("0 workers: start one with 'codeexec worker'")
        return
    table(
        ("WORKER", "BUSY", "ISOLATION", "SEEN", "QUEUES"),
        [
            (
                one.id,
                f"{one.busy}/{one.slots}",
                f"level {one.about.get('isolation', '?')}",
                f"{seconds(one.seen_s)} ago",
                ",".join(one.queues),
            )
            for one in workers
            if one.alive
        ],
    )


def _first_line(code: str) -> str:
    lines = code.strip().splitlines()
    return lines[0][:60] if lines else ""
