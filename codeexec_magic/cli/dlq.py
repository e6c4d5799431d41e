"""``codeexec dlq``: dead letters, the jobs that gave up for good."""

from __future__ import annotations

import click

from codeexec_magic.cli.root import client
from codeexec_magic.cli.run import read_source
from codeexec_magic.cli.terminal import as_json, harmless, table
from codeexec_magic.store.dead_letters import DeadLetter

_JSON = click.option("--json", "json_", is_flag=True, help="Print JSON.")


@click.group()
def dlq() -> None:
    """Look after dead letters: jobs that gave up for good."""


@dlq.command("list")
@click.option("--limit", "-n", type=click.IntRange(1, 10_000), default=100, show_default=True, help="How many.")
@_JSON
@click.pass_obj
def list_(broker: str | None, limit: int, json_: bool) -> None:
    """List them, newest first."""
    with client(broker) as connection:
        letters = connection.dead_letters(limit)
    if json_:
        as_json([letter.as_dict() for letter in letters])
    elif not letters:
        click.echo("no dead letters")
    else:
        rows = [
            (
                letter.task_id[:8],
                click.style(letter.reason, fg="red"),
                str(len(letter.attempts)),
                letter.queue,
                letter.last_at,
                letter.verdict or letter.label or letter.code.strip().split("\n")[0][:60],
            )
            for letter in letters
        ]
        table(("ID", "REASON", "RUNS", "QUEUE", "LAST", "WHY"), rows)


@dlq.command()
@click.argument("task_id")
@_JSON
@click.pass_obj
def show(broker: str | None, task_id: str, json_: bool) -> None:
    """Show one with its code, runs and last output."""
    with client(broker) as connection:
        letter = connection.dead_letter(task_id)
    if json_:
        as_json(letter.as_dict())
        return
    click.echo(f"{click.style(letter.task_id, bold=True)}  {click.style(letter.reason, fg='red')}  on {letter.queue}")
    click.echo(f"from {letter.first_at} to {letter.last_at}")
    if letter.verdict:
        click.echo(harmless(letter.verdict))
    for number, run in enumerate(letter.attempts, 1):
        click.echo(f"  run {number}: " + ", ".join(f"{name} {value}" for name, value in run.items()))
    _section("code", letter.code)
    _section("last output", "\n".join(letter.last_output))
    if letter.error is not None:
        _section("error", "\n".join(letter.error.traceback) or f"{letter.error.ename}: {letter.error.evalue}")


@dlq.command()
@click.argument("task_id", required=False)
@click.option("--all", "all_", is_flag=True, help="All of them.")
@click.option("--code", "file", metavar="FILE", help="With edited code (- for standard input).")
@_JSON
@click.pass_obj
def requeue(broker: str | None, task_id: str | None, all_: bool, file: str | None, json_: bool) -> None:
    """Run one again under its id."""
    if (task_id is None) is not all_:
        raise click.UsageError("name one task id, or --all")
    if all_ and file:
        raise click.UsageError("--code goes with one task id")
    code = read_source(file) if file else None
    with client(broker) as connection:
        letters = connection.dead_letters(10_000) if all_ else [connection.dead_letter(task_id or "")]
        for letter in letters:
            connection.requeue(letter.task_id, code)
    _report("requeued", letters, json_)


@dlq.command()
@click.argument("task_id")
@_JSON
@click.pass_obj
def drop(broker: str | None, task_id: str, json_: bool) -> None:
    """Forget one."""
    with client(broker) as connection:
        letter = connection.dead_letter(task_id)
        connection.drop(letter.task_id)
    _report("dropped", [letter], json_)


@dlq.command()
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@_JSON
@click.pass_obj
def purge(broker: str | None, yes: bool, json_: bool) -> None:
    """Forget all of them."""
    with client(broker) as connection:
        if not yes:
            click.confirm("forget all dead letters?", abort=True, err=True)
        count = connection.purge_dead_letters()
    if json_:
        as_json({"purged": count})
    else:
        click.echo(f"purged {count} dead letters")


def _report(what: str, letters: list[DeadLetter], json_: bool) -> None:
    if json_:
        as_json({what: [letter.task_id for letter in letters]})
        return
    for letter in letters:
        click.echo(f"{what} {letter.task_id}")
    if not letters:
        click.echo("no dead letters")


def _section(title: str, text: str) -> None:
    if text.strip():
        click.echo(click.style(f"-- {title}", bold=True))
        click.echo(harmless(text.rstrip()))
