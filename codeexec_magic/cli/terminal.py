"""Text on a terminal: what a cell may put there, tables, progress."""

from __future__ import annotations

import json
import re
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from typing import IO, Any

import click

#: escape sequences but for colours, then control characters but for tab, newline, backspace and carriage return
_UNSAFE = re.compile(
    r"\x1b\[(?![0-9;:]*m)[0-?]*[ -/]*[@-~]"
    r"|\x1b[\]PX^_].*?(?:\x07|\x1b\\|$)"
    r"|\x1b(?!\[[0-9;:]*m)"
    r"|[\x00-\x07\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f]",
    re.DOTALL,
)


def harmless(text: str) -> str:
    """``text`` without what could move the cursor, rename the window or answer for the user; colours stay."""
    return _UNSAFE.sub("", text)


def write(text: str, stream: IO[str]) -> None:
    """Pass on what a cell wrote: unchanged into a pipe or file, made harmless on a terminal."""
    stream.write(harmless(text) if stream.isatty() else text)
    stream.flush()


def dim(text: str) -> str:
    """Text of less weight."""
    return click.style(text, dim=True)


def note(text: str, *, fg: str | None = None) -> None:
    """One line of ours on standard error."""
    click.echo(click.style(text, fg=fg) if fg else dim(text), err=True)


class Progress:
    """Shows successive states of one line: rewritten on a terminal, only the last one elsewhere."""

    def __init__(self) -> None:
        self._shown = False

    def __call__(self, line: str) -> None:
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
    """Print columns as wide as their widest cell; on a terminal the last one is cut where the terminal ends."""
    lines = [tuple(head), *(tuple(harmless(" ".join(cell.split())) for cell in row) for row in rows)]
    widths = [max(columns(line[i]) for line in lines) for i in range(len(head))]
    if sys.stdout.isatty():
        room = shutil.get_terminal_size().columns - sum(widths[:-1]) - 2 * (len(widths) - 1)
        lines = [(*line[:-1], cut(line[-1], max(12, room))) for line in lines]
        widths[-1] = 0
    for number, line in enumerate(lines):
        padded = (cell + " " * (width - columns(cell)) for cell, width in zip(line, widths, strict=True))
        text = "  ".join(padded).rstrip()
        click.echo(click.style(text, bold=True) if number == 0 else text)


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
    """Text from elsewhere as one line: printable characters only, no colours, shortened."""
    kept = "".join(c if c.isprintable() else " " for c in harmless(click.unstyle(str(text)[: 4 * limit])))
    kept = " ".join(kept.split())
    return kept if len(kept) <= limit else f"{kept[: limit - 1]}…"


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


_COLOURS = {"succeeded": "green", "failed": "red", "dead_lettered": "red", "cancelled": "yellow", "running": "cyan"}


def status(value: str) -> str:
    """A status in its colour."""
    return click.style(value, fg=_COLOURS.get(value, "yellow"))
