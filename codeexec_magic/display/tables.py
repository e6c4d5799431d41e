"""Jobs and dead letters as tables and as text. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from codeexec_magic.display import render, theme
from codeexec_magic.display.theme import WORDS, escaped, pill, plural, seconds
from codeexec_magic.hostile_text import one_line, plain_text

if TYPE_CHECKING:
    from codeexec_magic.store import JobState
    from codeexec_magic.store.dead_letters import DeadLetter


def jobs_html(states: Sequence[JobState]) -> str:
    """One row per job."""
    if not states:
        return theme.frame('<div class="cxm-dim">No jobs</div>')
    head = "<tr><th>Task</th><th>Status</th><th>Cell</th><th>Queue · worker</th><th class=cxm-n>Time</th></tr>"
    rows = "".join(
        f"<tr><td>{theme.task_id(state.id)}</td><td class='cxm-wrap'>{_status(state)}</td>"
        f'<td class="cxm-cell"><code>{escaped(first_line(state), 60)}</code></td>'
        f'<td class="cxm-wrap">{escaped(render.place(state), 90)}</td>'
        f'<td class="cxm-n">{escaped(render.times(state))}</td></tr>'
        for state in states
    )
    return theme.frame(f'<div class="cxm-wide"><table>{head}{rows}</table></div>')


def jobs_text(states: Sequence[JobState]) -> str:
    """One line per job."""
    if not states:
        return "no jobs"
    lines = []
    for state in states:
        words = render.cached_words(state) if state.cached else render.headline(state)
        glyph = "⚡" if state.cached else WORDS[state.status][0]
        cell = first_line(state)
        parts = [render.place(state), render.shared(state), render.times(state), one_line(cell, 50)]
        lines.append("  ".join(part for part in (render.short(state.id), f"{glyph} {words}", *parts) if part))
    return "\n".join(lines)


def first_line(state: JobState) -> str:
    """What stands for a job in a list: its label, else the first line of its code that says something."""
    return state.label or _first_line(state.code)


def dead_letters_html(letters: Sequence[DeadLetter], total: int = 0) -> str:
    """One row per dead letter; ``total``: how many there are, if these are only the latest."""
    if not letters:
        return theme.frame('<div class="cxm-dim">No dead letters</div>')
    head = "<tr><th>Task</th><th>Reason</th><th>Cell</th><th>Queue</th><th class=cxm-n>Runs</th><th>When</th></tr>"
    rows = "".join(
        f"<tr><td>{theme.task_id(letter.task_id)}</td><td>{pill('dead_lettered', '☠', why(letter))}</td>"
        f'<td class="cxm-cell"><code>{escaped(subject(letter), 60)}</code></td>'
        f"<td>{escaped(letter.queue, 40)}</td>"
        f'<td class="cxm-n">{len(letter.attempts)}</td><td>{escaped(when(letter.last_at))}</td></tr>'
        for letter in letters
    )
    hint = '<div class="cxm-note">%remote_dlq show|requeue|edit|drop ID · %remote_dlq purge</div>'
    return theme.frame(
        f"<h4>{_how_many(letters, total)}</h4><div class='cxm-wide'><table>{head}{rows}</table></div>{hint}"
    )


def dead_letters_text(letters: Sequence[DeadLetter], total: int = 0) -> str:
    """One line per dead letter; ``total``: how many there are, if these are only the latest."""
    if not letters:
        return "no dead letters"
    lines = [
        f"☠ {render.short(letter.task_id)}  {why(letter)}  {one_line(letter.queue, 40)}  "
        f"{plural(len(letter.attempts), 'run')}  {one_line(subject(letter), 50)}"
        for letter in letters
    ]
    lines += [f"  {_how_many(letters, total)}"] if total > len(letters) else []
    return "\n".join([*lines, "%remote_dlq show|requeue|edit|drop ID · %remote_dlq purge"])


def _how_many(letters: Sequence[DeadLetter], total: int) -> str:
    number = max(total, len(letters))
    return plural(number, "dead letter") + (f", the latest {len(letters)}" if number > len(letters) else "")


def dead_letter_html(letter: DeadLetter) -> str:
    """Everything about one dead letter."""
    head = (
        f'<div class="cxm-row">{pill("dead_lettered", "☠", f"Dead-lettered: {why(letter)}")}'
        f'{theme.task_id(letter.task_id)}<span class="cxm-dim">{escaped(letter.queue, 40)}</span></div>'
    )
    verdict = f'<div class="cxm-note">{escaped(letter.verdict, 400)}</div>' if letter.verdict else ""
    runs = "".join(
        f'<tr><td class="cxm-n">{number}</td><td>{escaped(reason)}</td><td>{escaped(worker, 60)}</td>'
        f'<td class="cxm-n">{escaped(took)}</td></tr>'
        for number, reason, worker, took in _attempts(letter)
    )
    titles = "<tr><th class=cxm-n>Run</th><th>Ended by</th><th>Worker</th><th class=cxm-n>Took</th></tr>"
    table = f"<table>{titles}{runs}</table>"
    blocks = "".join(
        f"<h4 style='margin-top:8px'>{title}</h4><pre>{theme.block(text)}</pre>" for title, text in _blocks(letter)
    )
    return theme.frame(f"{head}{verdict}{table if runs else ''}{blocks}")


def dead_letter_text(letter: DeadLetter) -> str:
    """The same as text."""
    lines = [f"☠ Dead-lettered: {why(letter)}  {render.short(letter.task_id)}  {one_line(letter.queue, 40)}"]
    lines += [f"  {one_line(letter.verdict, 400)}"] if letter.verdict else []
    lines += [
        f"  run {number}: {reason}, {one_line(worker, 60)}, {took}"
        for number, reason, worker, took in _attempts(letter)
    ]
    for title, text in _blocks(letter):
        lines += [f"  {title}:", *(f"    {line}" for line in plain_text(text).split("\n"))]
    return "\n".join(lines)


def why(letter: DeadLetter) -> str:
    """What ended it, in words."""
    known = {str(reason): words for reason, words in render.REASONS.items()}
    return known.get(letter.reason) or one_line(letter.reason, 30)


def when(timestamp: str) -> str:
    """A time of ours, short: date and time in UTC."""
    try:
        return f"{datetime.fromisoformat(timestamp):%Y-%m-%d %H:%M:%S} UTC"
    except ValueError:
        return ""


def _status(state: JobState) -> str:
    if state.cached:
        return pill("cached", "⚡", render.cached_words(state))
    whose = render.shared(state)
    told = f' <span class="cxm-dim">{escaped(whose)}</span>' if whose else ""
    return pill(str(state.status), WORDS[state.status][0], render.headline(state)) + told


def subject(letter: DeadLetter) -> str:
    """What a dead letter is about: its label, or the first line of its code."""
    return letter.label or _first_line(letter.code)


def _first_line(code: str) -> str:
    """The line that tells cells apart: most begin with the same imports."""
    lines = [line.strip() for line in code.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    telling = (line for line in lines if not line.startswith(("import ", "from ", "%")))
    return next(telling, lines[0] if lines else "")


def _attempts(letter: DeadLetter) -> list[tuple[int, str, str, str]]:
    return [
        (number, one_line(one.get("reason", ""), 30), str(one.get("worker", "")), _took(one))
        for number, one in enumerate(letter.attempts, 1)
    ]


def _took(attempt: Mapping[str, Any]) -> str:
    start, end = attempt.get("start"), attempt.get("end")
    if isinstance(start, str) and isinstance(end, str):
        try:
            return seconds((datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds())
        except ValueError:
            return ""
    if isinstance(start, int | float) and isinstance(end, int | float):
        return seconds((end - start) / 1000)
    return ""


def _blocks(letter: DeadLetter) -> list[tuple[str, str]]:
    blocks = [("Code", letter.code)]
    if letter.error is not None:
        text = "\n".join(letter.error.traceback) or f"{letter.error.ename}: {letter.error.evalue}"
        blocks.append(("Error", text))
    if letter.last_output:
        blocks.append(("Last output", "\n".join(letter.last_output)))
    return blocks
