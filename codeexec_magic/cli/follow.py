"""Follows a job on a terminal: its output as it comes, then its outcome."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import click

from codeexec_magic.cli.terminal import CellOutput, echo, line, note, seconds
from codeexec_magic.contract import ExecutionResult, Status
from codeexec_magic.display.terminal_lines import Lines
from codeexec_magic.display.transcript import stream_text
from codeexec_magic.hostile_text import plain_text, printed_text
from codeexec_magic.job import Job

#: seconds a job may wait in silence before we say why
PATIENCE_S = 0.5

Write = Callable[[str, str], None]


def follow(job: Job, out: Write | None = None, say: Callable[[str], None] = note) -> ExecutionResult:
    """Show what a job does until it has ended.

    Args:
        job: the job.
        out: called with text and the name of its stream, ``stdout`` or ``stderr``; default: our own streams.
        say: called with one line about the job, when there is a reason.
    """
    began, said = time.monotonic(), False
    lines = Lines(rewrites=sys.stdout.isatty()) if out is None else None
    write = out or CellOutput()

    def show(events: list[dict[str, Any]]) -> None:
        nonlocal said
        for event in events:
            if event["type"] == "status":
                said = False if event["status"] == "retrying" else said
                _say_status(event, say)
            else:
                _show(event, write, lines)
        if not events and not said and time.monotonic() - began > PATIENCE_S:
            said = _explain_wait(job, say)

    result = job.follow(show)
    if lines is not None:
        lines.end()
    return result


def _explain_wait(job: Job, say: Callable[[str], None]) -> bool:
    """Say why nothing happens; whether there was something to say."""
    state = job.state()
    if state.status is not Status.QUEUED:
        return False
    if not state.listeners:
        say(f"0 workers listen on {line(state.queue, 60)}: start one with 'codeexec worker'")
    elif state.position:
        say(f"number {state.position} in line on {line(state.queue, 60)}")
    return True


def _say_status(event: dict[str, Any], say: Callable[[str], None]) -> None:
    reason = event.get("reason")
    if event["status"] == "retrying":
        due = seconds(event.get("next_try_in_s"))
        say(f"run {line(event.get('attempt'), 10)} ended: {line(reason, 60)}; trying again in {due}")
    elif event["status"] == "queued" and reason == "worker_lost":
        say("the worker died; running again")


def _show(event: dict[str, Any], out: Write, lines: Lines | None) -> None:
    kind = event["type"]
    if kind in ("stream", "truncated"):
        if lines is not None:
            lines.end()
        out(stream_text(event), event["name"] if kind == "stream" else "stderr")
    elif kind in ("display_data", "execute_result", "update_display_data"):
        text = "".join(map(str, event["data"].get("text/plain", "")))
        text = printed_text(text) if sys.stdout.isatty() else text
        key = (event.get("transient") or {}).get("display_id")
        if kind == "update_display_data" and (lines is None or key is None or lines.update(key, text)):
            return
        if text:
            out(text + "\n", "stdout")
            if lines is not None:
                lines.shown(key, text)


def verdict(result: ExecutionResult) -> str:
    """One line about an outcome."""
    parts = [str(result.status).replace("_", " ")]
    if result.verdict:
        parts.append(line(result.verdict))
    elif result.error is not None:
        parts.append(line(f"{result.error.ename}: {result.error.evalue}", 200))
    elif not result.success:
        parts.append(str(result.reason))
    if result.cached:
        parts.append(f"cached {seconds(result.cached_age_s)} ago")
    else:
        parts.append(f"ran {seconds(result.execution_time_ms / 1000)}")
        parts.append(f"waited {seconds(result.wait_time_ms / 1000)}")
        if result.memory_used_mb is not None:
            parts.append(f"{result.memory_used_mb:.0f} MB")
        if result.retry_count:
            parts.append(f"retries {result.retry_count}")
    return " · ".join(parts)


def outcome_line(result: ExecutionResult) -> str:
    """The verdict with a mark in its colour."""
    if result.success:
        return click.style("✔ ", fg="green") + verdict(result)
    return click.style("✘ ", fg="yellow" if result.status is Status.CANCELLED else "red") + verdict(result)


def traceback(result: ExecutionResult) -> None:
    """Show the remote traceback, if there is one, on standard error; in colour on a terminal only."""
    if result.error is not None:
        lines = result.error.traceback or (f"{result.error.ename}: {result.error.evalue}",)
        text = "\n".join(lines)
        echo(text if sys.stderr.isatty() else plain_text(text, 1_000_000), err=True)
