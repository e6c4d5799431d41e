"""The bytes of one value: a JSON header and binary parts, each part aligned for the arrays that are made of it.

    8 bytes magic, 8 bytes length of the header, header (JSON, UTF-8), then the parts; zeros fill up to 64 bytes.

The header has ``kind`` (``safe`` or ``pickle``), ``type`` (name of the value's type), ``parts`` (their lengths) and for
a safe value ``value``; for a pickle ``python`` and ``preview``.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator, Sequence
from typing import Any, Final

from .errors import Damaged

Buffer = bytes | bytearray | memoryview

MAGIC: Final = b"CXVALUE1"
ALIGN: Final = 64
#: longest header that is decoded (bytes)
MAX_HEADER: Final = 64 << 20
#: most parts of one value
MAX_PARTS: Final = 100_000
#: most numbers of which a value may make arrays although only their bounds are in it
MAX_SPELLED_OUT: Final = 1 << 24
#: deepest nesting of the header's JSON
MAX_DEPTH: Final = 100
_LENGTH: Final = struct.Struct("<Q")
_ZEROS: Final = bytes(ALIGN)


def padding(size: int) -> bytes:
    """The zeros that follow ``size`` bytes."""
    return _ZEROS[: -size % ALIGN]


class Packed:
    """A value ready to be sent; the parts are views of the value's own memory, which must not change meanwhile."""

    def __init__(self, header: dict[str, Any], parts: Sequence[Buffer]) -> None:
        self.kind: str = header["kind"]
        self.type: str = header["type"]
        self.preview: str = header.get("preview", "")
        self.python: str = header.get("python", "")
        self._parts = [memoryview(part).cast("B") if len(part) else memoryview(b"") for part in parts]
        text = json.dumps({**header, "parts": [part.nbytes for part in self._parts]}, separators=(",", ":"))
        self._head = MAGIC + _LENGTH.pack(len(text)) + text.encode()
        padded = [part.nbytes + -part.nbytes % ALIGN for part in self._parts]
        #: bytes altogether
        self.size = len(self._head) + -len(self._head) % ALIGN + sum(padded)

    def chunks(self) -> Iterator[Buffer]:
        """The bytes, in order."""
        yield self._head + padding(len(self._head))
        for part in self._parts:
            yield part
            if rest := padding(part.nbytes):
                yield rest

    def digest(self) -> str:
        """SHA-256 of the bytes, in hexadecimal."""
        digest = hashlib.sha256()
        for chunk in self.chunks():
            digest.update(chunk)
        return digest.hexdigest()

    def to_bytes(self) -> bytes:
        """All bytes; for small values and tests."""
        return b"".join(self.chunks())


def unpack(data: Buffer) -> tuple[dict[str, Any], list[memoryview]]:
    """The header and views of the parts.

    Raises:
        Damaged: the bytes do not follow the format.
    """
    view = memoryview(data).cast("B")
    start = len(MAGIC) + _LENGTH.size
    if view.nbytes < start or bytes(view[: len(MAGIC)]) != MAGIC:
        raise Damaged("the value does not begin like one")
    (length,) = _LENGTH.unpack_from(view, len(MAGIC))
    if length > min(MAX_HEADER, view.nbytes - start):
        raise Damaged("the value's header is longer than the value")
    header = _header(bytes(view[start : start + length]))
    at = start + length
    at += -at % ALIGN
    parts = []
    for size in header["parts"]:
        if at + size > view.nbytes:
            raise Damaged("a part of the value is missing")
        parts.append(view[at : at + size])
        at += size + -size % ALIGN
    if at != view.nbytes:
        raise Damaged("there are bytes behind the value")
    return header, parts


def _header(text: bytes) -> dict[str, Any]:
    if _depth(text) > MAX_DEPTH:
        raise Damaged("the value's header is nested too deeply")
    try:
        header = json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError):
        raise Damaged("the value's header is no JSON") from None
    if not isinstance(header, dict) or header.get("kind") not in ("safe", "pickle"):
        raise Damaged("the value's header is not one")
    sizes = header.get("parts")
    if not isinstance(sizes, list) or len(sizes) > MAX_PARTS or not all(type(n) is int and n >= 0 for n in sizes):
        raise Damaged("the lengths of the value's parts are none")
    for name in ("type", "preview", "python"):
        if not isinstance(header.get(name, ""), str):
            raise Damaged(f"the value's {name} is no text")
    return header


_BRACKETS: Final = bytes.maketrans(b"{}", b"[]")
_NO_BRACKET: Final = bytes(set(range(256)) - set(b"[]{}"))


def _depth(text: bytes) -> int:
    """How deep brackets nest, counted to one beyond the limit; no step takes longer than a pass over the bytes."""
    bare = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    brackets = b"".join(bare.split(b'"')[::2]).translate(_BRACKETS, _NO_BRACKET)
    level = 0
    while brackets and level <= MAX_DEPTH:
        before = len(brackets)
        brackets = brackets.replace(b"[]", b"")
        if len(brackets) == before:
            return MAX_DEPTH + 1
        level += 1
    return level
