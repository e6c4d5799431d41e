"""Several values and files in one stream of bytes, on the way into a cell and out of it.

Each entry is a 4-byte length, a JSON object, and as many bytes as its ``size`` says. Blanks behind the JSON and zeros
behind the bytes keep every entry's bytes at a multiple of 64, so that arrays can be made of a mapped stream.
Entries: ``{"entry": "value", "name": …, "size": …}``, ``{"entry": "file", "path": …, "mode": …, "size": …}``,
``{"entry": "problem", "name": …, "text": …}`` and ``{"entry": "end"}``.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any, Final

from .container import ALIGN
from .errors import Damaged

#: longest JSON object of an entry (bytes)
MAX_ENTRY: Final = 16 << 10
LENGTH: Final = struct.Struct("<I")


def entry(about: dict[str, Any]) -> bytes:
    """The bytes that stand before an entry's own, for a stream whose position is a multiple of 64."""
    text = json.dumps(about, separators=(",", ":")).encode()
    blanks = -(LENGTH.size + len(text)) % ALIGN
    return LENGTH.pack(len(text) + blanks) + text + b" " * blanks


def read_entry(text: bytes) -> dict[str, Any]:
    """The JSON object of an entry.

    Raises:
        Damaged: it is none.
    """
    try:
        about = json.loads(text)
    except (ValueError, RecursionError):
        raise Damaged("an entry that is no JSON") from None
    size = about.get("size", 0) if isinstance(about, dict) else None
    if type(size) is not int or size < 0 or not isinstance(about.get("entry"), str):
        raise Damaged("an entry without kind or size")
    return dict(about)


def entries(stream: memoryview) -> Iterator[tuple[dict[str, Any], memoryview]]:
    """The entries of a whole stream.

    Raises:
        Damaged: it does not follow the format.
    """
    at = 0
    while at < stream.nbytes:
        if at + LENGTH.size > stream.nbytes:
            raise Damaged("an entry that is cut")
        (length,) = LENGTH.unpack_from(stream, at)
        at += LENGTH.size
        if length > MAX_ENTRY or at + length > stream.nbytes:
            raise Damaged("an entry that is cut")
        about = read_entry(bytes(stream[at : at + length]))
        at += length
        size = about.get("size", 0)
        if at + size > stream.nbytes:
            raise Damaged("an entry that is cut")
        yield about, stream[at : at + size]
        at += size + -size % ALIGN
