"""Everything that the commands print: one gate for all of it, tables, progress, JSON.

No other module of this package writes to a terminal (a test holds it), so that whatever a cell or a stored record
wrote passes :mod:`codeexec_magic.hostile_text` on its way, even where a command forgot to clean a field.
"""

from __future__ import annotations

import json
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, Final

import click

from codeexec_magic.hostile_text import TerminalStream, one_line, plain_text, printed_text


def echo(
    text: str = "", *, fg: str | None = None, bold: bool | None = None, nl: bool = True, err: bool = False
) -> None:
    """Print text of ours, which may contain cleaned fields: the gate leaves colours and whole lines.

    Args:
        text: what to print.
        fg: its colour; None for the terminal's own.
        bold: whether it is bold.
        nl: end the line.
        err: on standard error.
    """
    text = printed_text(text)
    click.echo(click.style(text, fg=fg, bold=bold) if fg or bold else text, nl=nl, err=err)


def confirm(question: str) -> None:
    """Ask on standard error, and abort unless the answer is yes."""
    click.confirm(one_line(question, 400), abort=True, err=True)


class CellOutput:
    """Passes on what a cell writes: unchanged into a pipe or file, cleaned on a terminal."""

    def __init__(self) -> None:
        self._streams = {"stdout": TerminalStream(), "stderr": TerminalStream()}

    def __call__(self, text: str, name: str) -> None:
        """Write text to our stream of that name.

        Args:
            text: the next piece.
            name: ``stdout`` or ``stderr``; anything else counts as ``stdout``.
        """
        stream = sys.stderr if name == "stderr" else sys.stdout
        cleaner = self._streams["stderr" if name == "stderr" else "stdout"]
        stream.write(cleaner.feed(text) if stream.isatty() else text)
        stream.flush()


def dim(text: str) -> str:
    """Text of less weight."""
    return click.style(text, dim=True)


def note(text: str, *, fg: str | None = None) -> None:
    """One line of ours on standard error; fields of it are cleaned by who makes it."""
    line = " ".join(text.split())
    echo(line if fg else dim(line), fg=fg, err=True)


class Progress:
    """Shows successive states of one line: rewritten on a terminal, only the last one elsewhere."""

    def __init__(self) -> None:
        self._shown = False

    def __call__(self, line: str) -> None:
        line = one_line(line, 400)
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\x1b[2K\x1b[2m{line}\x1b[0m")
            self._shown = True
            if " ready in " in line:
                self.end()
        elif " ready in " in line:
            sys.stderr.write(line + "\n")
        sys.stderr.flush()

    def end(self) -> None:
        """Leave the line."""
        if self._shown:
            sys.stderr.write("\n")
            self._shown = False


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print columns as wide as their widest cell; on a terminal the last one is cut where the terminal ends.

    Args:
        head: the titles.
        rows: as many cells each.
    """
    lines = [tuple(head), *(tuple(printed_text(" ".join(cell.split())) for cell in row) for row in rows)]
    widths = [max(columns(line[i]) for line in lines) for i in range(len(head))]
    if sys.stdout.isatty():
        room = shutil.get_terminal_size().columns - sum(widths[:-1]) - 2 * (len(widths) - 1)
        lines = [(*line[:-1], cut(line[-1], max(12, room))) for line in lines]
        widths[-1] = 0
    for number, line in enumerate(lines):
        padded = (cell + " " * (width - columns(cell)) for cell, width in zip(line, widths, strict=True))
        echo("  ".join(padded).rstrip(), bold=True if number == 0 else None)


def columns(text: str) -> int:
    """Columns of a terminal that ``text`` takes: none for colours, two for wide characters."""
    return sum(_wide(c) for c in click.unstyle(text))


def cut(text: str, room: int) -> str:
    """``text``, shortened to so many columns; a text that is cut loses its colours."""
    if columns(text) <= room:
        return text
    kept, left = "", room - 1
    for c in click.unstyle(text):
        left -= _wide(c)
        if left < 0:
            break
        kept += c
    return f"{kept}…"


def _wide(c: str) -> int:
    return 0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1


def line(text: object, limit: int = 400) -> str:
    """A field of a record as one line: printable characters only, no colours, shortened."""
    return one_line(text, limit)


def section(title: str, text: str) -> None:
    """Print text of a record under a title; nothing if it is empty."""
    if text.strip():
        echo(f"-- {title}", bold=True)
        echo(plain_text(text.rstrip(), 200_000))


def as_json(data: Any) -> None:
    """Print data for programs; what could control a terminal, or turn text around, stands there as an escape."""
    text = json.dumps(data, indent=2, ensure_ascii=False, default=str)
    click.echo("".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text))


def seconds(value: float | None) -> str:
    """A duration as people say it."""
    if value is None:
        return "-"
    if value < 1:
        return f"{value * 1000:.0f} ms"
    if value < 120:
        return f"{value:.1f} s"
    return f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.1f} h"


_COLOURS: Final = {
    "succeeded": "green",
    "failed": "red",
    "dead_lettered": "red",
    "cancelled": "yellow",
    "running": "cyan",
}


def status(value: str) -> str:
    """A status in its colour."""
    return click.style(value, fg=_COLOURS.get(value, "yellow"))
