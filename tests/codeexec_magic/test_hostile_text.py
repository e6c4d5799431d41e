"""Hostile text: what reaches a terminal is printable text and colours, whatever was written."""

from __future__ import annotations

import re
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeexec_magic.errors import JobNotFound, RemoteError
from codeexec_magic.hostile_text import TerminalStream, one_line, plain_text, printed_text, terminal_text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\ttext\n", "plain\ttext\n"),
        ("\x1b[31mred\x1b[0m", "\x1b[31mred\x1b[0m"),
        ("\x1b[1;31mred\x1b[0m", "\x1b[1;31mred\x1b[0m"),
        ("\x1b[38;5;208morange\x1b[48;2;1;2;3m on\x1b[m", "\x1b[38;5;208morange\x1b[48;2;1;2;3m on\x1b[0m"),
        ("\x1b[31mnever closed", "\x1b[31mnever closed\x1b[0m"),
        ("\x1b[8mhidden", "hidden"),
        ("\x1b[1;8;5mbold", "\x1b[1mbold\x1b[0m"),
        ("\x1b[38;5;999mx\x1b[38mx\x1b[38;2;1mx", "xxx"),
        ("\x1b[2J\x1b[Hgone", "gone"),
        ("\x1b]0;title\x07x", "x"),
        ("\x1b]8;;javascript:x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]52;c;aGk=\x07x", "x"),
        ("\x1b]52;c;ZXZpbA==\x1b\\after", "after"),
        ("\x9b31mx\x9d0;t\x07", "x"),
        ("\x1bPq payload\x1b\\x", "x"),
        ("\x1bcreset", "reset"),
        ("a\rb\tc\nd\be", "a\rb\tc\nd\be"),
        ("bell\x07 null\x00 del\x7f rtl\u202e", "bell null del rtl"),
        ("isolate\u2066 mark\u200e\u200f\u061c zero\u200b\ufeff tag\U000e0041", "isolate mark zero tag"),
        ("line\u2028 half\ud800", "line half"),
        ("\x1b]unterminated", ""),
        ("\x1b[31", ""),
        ("cut \x1b", "cut "),
    ],
)  # fmt: skip
def test_terminal_text_keeps_colours_only(text: str, shown: str) -> None:
    """No title, no clipboard, no cursor games, no hidden links or text, and no colour beyond the end."""
    assert terminal_text(text) == shown


def test_a_colour_goes_on_in_the_next_piece() -> None:
    """What is written between two pieces of a stream is not coloured by them; a sequence may be split."""
    stream = TerminalStream()
    assert stream.feed("\x1b[31mred") == "\x1b[31mred\x1b[0m"
    assert stream.feed(" still\n") == "\x1b[31m still\n\x1b[0m"
    assert stream.feed("\x1b[") == ""
    assert stream.feed("0mplain") == "\x1b[31m\x1b[0mplain"
    assert stream.feed("\x1b]52;c;ZXZ") == ""
    assert stream.feed("pbA==\x07after") == "after"


def test_an_endless_sequence_is_not_waited_for() -> None:
    """What a stream holds back is bounded."""
    stream = TerminalStream()
    stream.feed("\x1b]0;" + "x" * 100_000)
    assert len(stream._held) <= 4100


@given(st.text(st.one_of(st.characters(), st.sampled_from("\x1b[]0;8m\x07\x9b\u202e\\PX^_?"))))
def test_no_text_controls_a_terminal(text: str) -> None:
    """Whatever the text: only newline, tab and colours are left of what a terminal acts on."""
    assert re.search(r"\x1b(?!\[[0-9;]*m)", terminal_text(text)) is None
    for kept in (terminal_text(text), printed_text(text), one_line(text), plain_text(text)):
        bare = re.sub(r"\x1b\[[0-9;]*m", "", kept)
        bad = [c for c in bare if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") and c not in "\n\t\r\b"]
        assert bad == []
    assert all(c.isprintable() for c in one_line(text))
    assert "\r" not in printed_text(text)


def test_every_format_character_is_known() -> None:
    """Unicode's own list: no invisible or reordering character is missed."""
    found = [chr(c) for c in range(sys.maxunicode + 1) if unicodedata.category(chr(c)) == "Cf"]
    assert len(found) > 150
    assert [c for c in found if c in terminal_text(f"a{c}b")] == []


def test_one_line_is_short_and_plain() -> None:
    """A field is one line without colours."""
    assert one_line("a\nb\x1b[31mc\u202e" + "x" * 100, 10) == "a bcxxxxx…"


def test_messages_of_errors_are_plain() -> None:
    """Python prints an uncaught exception raw: its text is cleaned where it is made, its parts stay as they were."""
    evil = "\x1b]52;c;eA==\x07text\u202e"
    assert str(JobNotFound(f"no job {evil}")) == "no job text"
    error = RemoteError(evil, evil, [evil])
    assert str(error) == "text: text"
    assert (error.ename, error.evalue) == (evil, evil)
