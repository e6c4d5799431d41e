"""``codeexec demo``: the main things, end to end, in a terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import click

from codeexec_magic.broker_url import redact
from codeexec_magic.cli.follow import follow, outcome_line
from codeexec_magic.cli.root import client
from codeexec_magic.cli.terminal import dim, echo, note, seconds
from codeexec_magic.client import Client
from codeexec_magic.contract import QUEUE_DEFAULT, ExecutionResult, Reason, Status
from codeexec_magic.errors import NoWorker
from codeexec_magic.hostile_text import printed_text

#: seconds between the first and the last line of the streaming cell, of which we must see a good part
STREAM_S: Final = 1.0


@dataclass(frozen=True)
class Seen:
    """What became of one cell, as this terminal saw it."""

    result: ExecutionResult
    spread_s: float  #: from the first output to the last


@dataclass(frozen=True)
class Step:
    """One cell and what must come of it."""

    title: str
    code: str
    expect: str  #: what must happen, in words
    check: Callable[[Seen], bool]
    options: dict[str, Any] = field(default_factory=dict)


TABLE: Final = """\
import numpy as np
import pandas as pd

rolls = np.random.default_rng(7).integers(1, 7, size=(10_000, 2)).sum(axis=1)
pd.Series(rolls).value_counts().sort_index().rename_axis("sum of two dice").to_frame("times")"""

STEPS: Final = (
    Step(
        "Output streams while the cell runs",
        f"""\
import time

for percent in range(0, 101, 25):
    print(f"{{percent:3d}} %", flush=True)
    time.sleep({STREAM_S / 4:g})""",
        "lines arrive one by one, not all at the end",
        lambda seen: seen.result.success and "100 %" in seen.result.stdout and seen.spread_s > STREAM_S / 2,
        {"cache": "refresh"},
    ),
    Step(
        "The last expression is shown, a pandas table here",
        TABLE,
        "the table comes back",
        lambda seen: seen.result.success and "sum of two dice" in _shown(seen.result),
        {"cache": "refresh"},
    ),
    Step(
        "The same cell again costs nothing",
        TABLE,
        "the result comes from the cache, table included",
        lambda seen: seen.result.cached and "sum of two dice" in _shown(seen.result),
    ),
    Step(
        "An error is the cell's own error",
        """\
readings = [3, 1, 0]
for value in readings:
    print(6 / value)""",
        "ZeroDivisionError, with the line that raised it",
        lambda seen: (
            seen.result.status is Status.FAILED
            and seen.result.error is not None
            and seen.result.error.ename == "ZeroDivisionError"
            and any("print(6 / value)" in click.unstyle(line) for line in seen.result.error.traceback)
        ),
        {"cache": "off"},
    ),
    Step(
        "A cell that wants too much is stopped",
        """\
hoard = []
while True:
    hoard.append(bytearray(b"x") * 10_000_000)""",
        "stopped at its memory limit of 256 MB, and nothing else is harmed",
        lambda seen: not seen.result.success and seen.result.reason is Reason.MEMORY,
        {"memory_mb": 256, "retries": 0, "cache": "off"},
    ),
)


@click.command()
@click.pass_obj
def demo(broker: str | None) -> int:
    """See the main things happen: stream, table, cache, error, a limit. Exits with 0 only if all of them did."""
    with client(broker) as connection:
        _introduce(connection)
        began = time.monotonic()
        failed = [step.title for number, step in enumerate(STEPS, 1) if not _play(connection, number, step)]
        elapsed = time.monotonic() - began
    echo()
    if failed:
        echo(f"{len(failed)} of {len(STEPS)} did not do what they should: {'; '.join(failed)}", fg="red")
        return 1
    echo(f"all {len(STEPS)} cells did what they should, in {elapsed:.1f} s", fg="green", bold=True)
    return 0


def _introduce(connection: Client) -> None:
    """Say where the cells will run.

    Raises:
        NoWorker: no worker listens.
    """
    listening = next(queue.listeners for queue in connection.queues() if queue.name == QUEUE_DEFAULT)
    where = "the embedded cluster" if connection.embedded else redact(connection.settings.broker_url or "")
    if not listening:
        raise NoWorker(f"0 workers listen on {QUEUE_DEFAULT} of {where}: start one with 'codeexec worker'")
    level = max(worker.about.get("isolation", "?") for worker in connection.workers() if worker.alive)
    echo(f"{len(STEPS)} cells, each in a fresh sandbox of isolation level {level}, on {where}")


def _play(connection: Client, number: int, step: Step) -> bool:
    echo()
    echo(f"{number}/{len(STEPS)}  {step.title}", fg="cyan", bold=True)
    for line in step.code.splitlines():
        echo(dim("    " + line))
    began = time.monotonic()
    job = connection.submit(step.code, label=f"demo {number}", **step.options)
    times: list[float] = []
    pane = _Pane()

    def show(text: str, name: str) -> None:
        times.append(time.monotonic())
        pane.write(text, name)

    result = follow(job, show, note)
    if result.error is not None:
        pane.write("\n".join(result.error.traceback) + "\n", "stderr")
    pane.end()
    took = time.monotonic() - began
    echo(f"{outcome_line(result)}{dim(f' · {seconds(took)} from submission to answer')}")
    good = step.check(Seen(result, times[-1] - times[0] if times else 0.0))
    if not good:
        echo(f"expected: {step.expect}", fg="red", err=True)
        if result.error is not None and result.error.ename == "ModuleNotFoundError":
            note("the worker's environment lacks a library: pip install 'codeexec-magic[demo]' there", fg="red")
    if result.status is Status.DEAD_LETTERED:
        connection.drop(job.id)
        note("its dead letter, which 'codeexec dlq' would show, is dropped again")
    return good


class _Pane:
    """Writes a cell's output with a bar in front of every line."""

    def __init__(self) -> None:
        self._open = False

    def write(self, text: str, name: str) -> None:
        """Write text of a stream as it comes, whole lines or not."""
        for line in _keep_ends(printed_text(text)):
            if not self._open:
                echo("  ┃ ", fg="red" if name == "stderr" else "blue", nl=False)
            echo(line, nl=False)
            self._open = not line.endswith("\n")

    def end(self) -> None:
        """Finish the line that is open."""
        if self._open:
            echo()
            self._open = False


def _keep_ends(text: str) -> Iterator[str]:
    yield from text.splitlines(keepends=True)


def _shown(result: ExecutionResult) -> str:
    return "".join(
        "".join(event["data"].get("text/plain", "")) for event in result.outputs if event["type"] == "execute_result"
    )
