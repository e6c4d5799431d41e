"""Displays that change in a terminal."""

from __future__ import annotations

import pytest
from support import terminal_screen

from codeexec_magic.display.terminal_lines import Lines


class Display:
    """Shows as a shell does."""

    def __init__(self, *, rewrites: bool) -> None:
        self.lines = Lines(rewrites=rewrites)

    def show(self, key: str | None, text: str) -> None:
        """The first time."""
        print(text)
        self.lines.shown(key, text)

    def update(self, key: str, text: str) -> None:
        """Another state."""
        if not self.lines.update(key, text):
            self.show(key, text)


def test_two_bars_are_rewritten_where_they_stand(capsys: pytest.CaptureFixture[str]) -> None:
    """Each keeps its line; the last one leaves none when it goes away."""
    display = Display(rewrites=True)
    display.show("outer", "outer 0")
    display.show("inner", "inner 0")
    for i in (1, 2):
        display.update("outer", f"outer {i}")
        display.update("inner", f"inner {i}")
    assert terminal_screen(out := capsys.readouterr().out) == ["outer 2", "inner 2", ""]
    display.update("inner", "")
    display.update("outer", "outer 3")
    print("text")
    assert terminal_screen(out + capsys.readouterr().out) == ["outer 3", "text", ""]


def test_what_scrolled_on_is_not_touched(capsys: pytest.CaptureFixture[str]) -> None:
    """Once something else was written, or a display takes more than a line, a new state stands below it."""
    display = Display(rewrites=True)
    display.show("a", "a 0")
    display.lines.end()
    print("text")
    display.update("a", "a 1")
    display.update("a", "a 2\nmore")
    display.update("a", "a 3")
    assert terminal_screen(capsys.readouterr().out) == ["a 0", "text", "a 1", "a 2", "more", "a 3", ""]


def test_a_pipe_gets_the_last_state_only(capsys: pytest.CaptureFixture[str]) -> None:
    """Where nothing can be rewritten, states in between are not worth a line each."""
    display = Display(rewrites=False)
    display.show("a", "a 0")
    for i in range(1, 9):
        display.update("a", f"a {i}")
    display.lines.end()
    display.lines.end()
    assert capsys.readouterr().out == "a 0\na 8\n"
