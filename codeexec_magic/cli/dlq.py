"""``codeexec dlq``: dead letters, the jobs that gave up for good."""

from __future__ import annotations

import click

from codeexec_magic.cli.root import Steps, client, help_if_alone
from codeexec_magic.cli.run import read_source
from codeexec_magic.cli.terminal import as_json, confirm, echo, line, note, section, table
from codeexec_magic.display.tables import subject, when
from codeexec_magic.display.theme import plural
from codeexec_magic.errors import JobNotFound
from codeexec_magic.store.dead_letters import DeadLetter
from codeexec_magic.store.monitor import Query, read

_TASK_ID = "\n\nTASK_ID may be cut short, as far as it still names one job."
_JSON = click.option("--json", "json_", is_flag=True, help="Print JSON.")


@click.group(cls=Steps, invoke_without_command=True)
@click.pass_context
def dlq(ctx: click.Context) -> None:
    """Look after dead letters: jobs that gave up for good."""
    help_if_alone(ctx)


@dlq.command("list")
@click.option("--limit", "-n", type=click.IntRange(1, 10_000), default=100, show_default=True, help="How many.")
@_JSON
@click.pass_obj
def list_(broker: str | None, limit: int, json_: bool) -> None:
    """List dead letters, newest first."""
    with client(broker) as connection:
        letters = connection.dead_letters(limit)
    if json_:
        as_json([letter.as_dict() for letter in letters])
    elif not letters:
        echo("no dead letters")
    else:
        rows = [
            (
                line(letter.task_id[:8]),
                click.style(line(letter.reason, 30), fg="red"),
                str(len(letter.attempts)),
                line(letter.queue, 60),
                when(letter.last_at) or "-",
                _about(letter),
            )
            for letter in letters
        ]
        table(("ID", "REASON", "RUNS", "QUEUE", "LAST", "CODE"), rows)


@dlq.command(help=f"Show one dead letter with its code, runs, error and last output.{_TASK_ID}")
@click.argument("task_id")
@_JSON
@click.pass_obj
def show(broker: str | None, task_id: str, json_: bool) -> None:
    """Show one."""
    with client(broker) as connection:
        letter = connection.dead_letter(task_id)
    if json_:
        as_json(letter.as_dict())
        return
    reason = click.style(line(letter.reason, 30), fg="red")
    echo(f"{click.style(line(letter.task_id), bold=True)}  {reason}  on {line(letter.queue, 60)}")
    echo(f"from {when(letter.first_at) or '?'} to {when(letter.last_at) or '?'}")
    if letter.label:
        echo(f"label {line(letter.label)}")
    if letter.verdict:
        echo(line(letter.verdict))
    for number, run in enumerate(letter.attempts, 1):
        facts = (f"{line(name, 30)} {line(value, 200)}" for name, value in run.items())
        echo(f"  run {number}: {', '.join(facts)}")
    section("code", letter.code)
    section("last output", "\n".join(letter.last_output))
    if letter.error is not None:
        section("error", "\n".join(letter.error.traceback) or f"{letter.error.ename}: {letter.error.evalue}")


@dlq.command(help=f"Run one again, or all of them.\n\nUnder the same id and with the same limits.{_TASK_ID}")
@click.argument("task_id", required=False)
@click.option("--all", "all_", is_flag=True, help="All of them.")
@click.option("--code", "file", metavar="FILE", help="With edited code (- for standard input).")
@_JSON
@click.pass_obj
def requeue(broker: str | None, task_id: str | None, all_: bool, file: str | None, json_: bool) -> None:
    """Run one again."""
    if (task_id is None) is not all_:
        raise click.UsageError("name one task id, or --all")
    if all_ and file:
        raise click.UsageError("--code goes with one task id")
    code = read_source(file) if file else None
    with client(broker) as connection:
        letters = connection.dead_letters(10_000) if all_ else [connection.dead_letter(task_id or "")]
        done = []
        for letter in letters:
            try:
                connection.requeue(letter.task_id, code)
            except JobNotFound as err:
                if not all_:
                    raise
                note(str(err), fg="yellow")  # gone meanwhile: the others still count
            else:
                done.append(letter)
    _report("requeued", done, json_)


@dlq.command(help=f"Forget one dead letter.{_TASK_ID}")
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
    """Forget all dead letters."""
    with client(broker) as connection:
        number = read(connection.store, Query(source="none", letters_limit=0)).dead
        if number and not yes:
            confirm(f"forget {plural(number, 'dead letter')}?")
        count = connection.purge_dead_letters()
    if json_:
        as_json({"purged": count})
    else:
        echo(f"purged {plural(count, 'dead letter')}")


def _report(what: str, letters: list[DeadLetter], json_: bool) -> None:
    if json_:
        as_json({what: [letter.task_id for letter in letters]})
        return
    for letter in letters:
        echo(f"{what} {line(letter.task_id)}")
    if not letters:
        echo("no dead letters")


def _about(letter: DeadLetter) -> str:
    """What it was, and what ended it."""
    parts = (line(subject(letter), 60), line(letter.verdict, 200))
    return ": ".join(part for part in parts if part)
