"""What a cell showed, as a model reads it: clean text, bounded head and tail, and pictures."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from codeexec_magic.contract import ExecutionResult
from codeexec_magic.hostile_text import one_line, plain_text

#: characters of output that a model is given, unless the caller says otherwise
OUTPUT_LIMIT: Final = 16_000
#: pictures of one cell that a model is given, and the size of each as base64
PICTURES_LIMIT: Final = 8
_PICTURE_BYTES: Final = 4_000_000
#: picture formats and the bytes that they start with
_PICTURES: Final = {"image/png": b"\x89PNG\r\n\x1a\n", "image/jpeg": b"\xff\xd8\xff"}


@dataclass(frozen=True)
class Picture:
    """A picture that a cell showed, checked to be one."""

    mime: str
    data: str  #: base64


def bounded(text: str, limit: int = OUTPUT_LIMIT) -> str:
    """Head and tail of a text that is too long, and between them how much is left out.

    Args:
        text: the text.
        limit: characters kept.
    """
    if len(text) <= limit:
        return text
    head = limit // 2
    return f"{text[:head]}\n… {len(text) - limit:,} characters left out …\n{text[len(text) - (limit - head) :]}"


def output_text(result: ExecutionResult, limit: int = OUTPUT_LIMIT) -> str:
    """What the cell printed and displayed, in order, as clean text with head and tail.

    Args:
        result: of the cell.
        limit: characters kept.
    """
    text = _without_overwritten("".join(_texts(result.outputs)))
    return bounded(plain_text(text, limit=max(len(text), 1)), limit)


def error_text(result: ExecutionResult, limit: int = OUTPUT_LIMIT // 2) -> str:
    """The traceback, or why the cell did not succeed without one; empty if it succeeded.

    Args:
        result: of the cell.
        limit: characters kept.
    """
    if result.success:
        return ""
    return bounded(result.error.text, limit) if result.error else verdict(result)


def verdict(result: ExecutionResult) -> str:
    """One line: how it ended."""
    return one_line(result.verdict or f"reason {result.reason}", 400)


def pictures(result: ExecutionResult) -> list[Picture]:
    """The pictures that the cell showed, the first of them if there are many."""
    found = [_picture(event["data"]) for event in result.outputs if isinstance(event.get("data"), Mapping)]
    return [picture for picture in found if picture is not None][:PICTURES_LIMIT]


def json_value(value: Any, limit: int = OUTPUT_LIMIT) -> Any:
    """The value if it is JSON and not too long; else an object with its ``type`` and the head and tail of its text.

    Args:
        value: any.
        limit: characters of its JSON or text.
    """
    try:
        if len(json.dumps(value, allow_nan=False)) <= limit:
            return value
    except (TypeError, ValueError, RecursionError):
        pass
    text = plain_text(str(value), limit=10 * limit)
    return {"type": one_line(type(value).__name__), "text": bounded(text, limit)}


def text_of(data: Mapping[str, Any]) -> str:
    """The text form of one display."""
    return str(data.get("text/plain", ""))


def _texts(events: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    """Pieces of output; what was displayed stands on lines of its own."""
    at_start = True
    for event in events:
        if event.get("type") == "stream":
            piece = str(event["text"])
        elif isinstance(event.get("data"), Mapping):
            piece = ("" if at_start else "\n") + text_of(event["data"]) + "\n"
        else:
            continue
        at_start = piece.endswith("\n") if piece else at_start
        yield piece


def _without_overwritten(text: str) -> str:
    """Each line as a terminal finally shows it, without the text that a progress bar overwrote.

    Lines are cut at carriage returns, not matched by a pattern: the text is hostile and may be megabytes long.

    Args:
        text: streams and displays.
    """
    return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))


def _picture(data: Mapping[str, Any]) -> Picture | None:
    for mime, start in _PICTURES.items():
        text = data.get(mime)
        if isinstance(text, str) and len(text) <= _PICTURE_BYTES:
            try:
                decoded = base64.b64decode("".join(text.split()), validate=True)
            except (binascii.Error, ValueError):
                continue
            if decoded.startswith(start):
                return Picture(mime, base64.b64encode(decoded).decode())
    return None
