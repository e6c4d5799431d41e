"""Text that a cell or a stored record may have written, made safe to print. Standard library only.

Command line, magics, cards and panel print such text through one of three functions:

- :func:`one_line` for a field: printable characters on one line, without colours;
- :func:`plain_text` for text of several lines that is read: the same, with newlines and tabs;
- :func:`terminal_text` for output on a terminal: colours stay, and end where the text ends.

:class:`TerminalStream` is :func:`terminal_text` for output that arrives in pieces.
"""

from __future__ import annotations

import re
from typing import Final

#: Escape sequences: CSI; OSC, DCS, SOS, PM and APC up to their end; those of two or three bytes. 8-bit forms, too.
_ESCAPE: Final = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x18\x1a\x1b\x9c]*(?:\x07|\x1b\\|\x9c|\Z)?"
    r"|\x1b[ -/]*[0-~]?"
)
#: An escape sequence that the next piece of a stream may complete.
_INCOMPLETE: Final = re.compile(r"(?:\x1b\[[0-?]*[ -/]*|\x1b[\]PX^_][^\x07\x18\x1a\x1b\x9c]*\x1b?|\x1b[ -/]*)\Z")
#: An incomplete sequence longer than this is not waited for (characters).
_INCOMPLETE_LIMIT: Final = 4096
_SGR: Final = re.compile(r"\x1b\[([0-9;]{0,60})m")
#: Format characters (category Cf): they are invisible, reorder text, or hide text in tags. A test asks Unicode.
_FORMAT: Final = (
    "\u00ad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff"
)
#: What a terminal may act on, but for newline, tab, carriage return and backspace; lone surrogates cannot be encoded.
_CONTROL: Final = re.compile(
    rf"[\x00-\x07\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff{_FORMAT}]|\x1b(?!\[[0-9;]*m)"
)
_FORMAT_CHARACTER: Final = re.compile(f"[{_FORMAT}]")
#: Attributes of text that leave it readable. Conceal (8) and blinking (5, 6) are not among them.
_ATTRIBUTES: Final = frozenset({1, 2, 3, 4, 7, 9, *range(21, 26), 27, 29, *range(30, 38), 39, *range(40, 48), 49})
_BRIGHT: Final = frozenset({*range(90, 98), *range(100, 108)})
#: Colours that take more numbers: 38;5;N and 38;2;R;G;B, 48 for the background.
_EXTENDED: Final = {"5": 1, "2": 3}
_RESET: Final = "\x1b[0m"


def one_line(text: object, limit: int = 80) -> str:
    """Text as one line that cannot control anything: printable characters only, no colours.

    Args:
        text: anything; its ``str``.
        limit: length of the line in characters; a longer one ends in "…".
    """
    start = _ESCAPE.sub("", str(text)[: 4 * limit + 16])
    # what is not printable covers control characters, line separators and the marks that reorder text
    line = " ".join("".join(c if c.isprintable() else " " for c in _FORMAT_CHARACTER.sub("", start)).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def plain_text(text: str, limit: int = 20_000) -> str:
    """Text of several lines, without colours; newline and tab are the only characters that are not printable.

    Args:
        text: the text.
        limit: its length in characters; a longer one ends in "…".
    """
    start = _ESCAPE.sub("", text[:limit].replace("\r\n", "\n"))
    kept = "".join(c for c in start if c in "\n\t" or c.isprintable())
    return f"{kept}…" if len(text) > limit else kept


def terminal_text(text: str) -> str:
    """Text for a terminal: colours stay and are reset at the end; other escape sequences and controls are left out."""
    stream = TerminalStream()
    return stream.feed(text) + stream.end()


def printed_text(text: str) -> str:
    """The same for text that is not meant to go back over its own line: without carriage returns and backspaces."""
    return terminal_text(text.replace("\r\n", "\n").replace("\r", "").replace("\b", ""))


class TerminalStream:
    """:func:`terminal_text` for text in pieces: a colour goes on in the next piece, and colours no text in between."""

    def __init__(self) -> None:
        self._held = ""
        self._colours = ""

    def feed(self, text: str) -> str:
        """What to write for the next piece; an escape sequence that it does not complete waits for the next one."""
        text = self._held + text
        found = _INCOMPLETE.search(text, max(0, len(text) - _INCOMPLETE_LIMIT))
        self._held = text[found.start() :] if found else ""
        text = text[: found.start()] if found else text
        if not text:
            return ""
        before = self._colours
        shown = _CONTROL.sub("", _ESCAPE.sub(self._escape, text))
        return f"{before}{shown}{_RESET if self._colours else ''}"

    def end(self) -> str:
        """What to write when nothing more comes: an incomplete sequence is dropped."""
        self._held = self._colours = ""
        return ""

    def _escape(self, found: re.Match[str]) -> str:
        """A colour, reduced to what leaves text readable; any other sequence becomes nothing."""
        colour = _SGR.fullmatch(found[0])
        if colour is None:
            return ""
        kept = _readable(colour[1].split(";"))
        if kept is None:
            return ""
        sequence = f"\x1b[{';'.join(kept)}m"
        if "0" in kept:
            self._colours = "" if kept[-1] == "0" else sequence
        elif len(self._colours) < 400:
            self._colours += sequence
        return sequence


def _readable(numbers: list[str]) -> list[str] | None:
    """The numbers of a colour sequence that leave text readable; None if there are none."""
    kept: list[str] = []
    rest = [number.lstrip("0") or "0" for number in numbers]
    while rest:
        number = rest.pop(0)
        if number in ("38", "48"):
            more = rest[: 1 + _EXTENDED.get(rest[0], 0)] if rest else []
            del rest[: max(1, len(more))]
            if len(more) > 1 and len(more) == 1 + _EXTENDED[more[0]] and all(int(part) < 256 for part in more):
                kept += [number, *more]
        elif number == "0":
            kept = ["0"]
        elif int(number) in _ATTRIBUTES or int(number) in _BRIGHT:
            kept.append(number)
    return kept or None
