"""Length-framed JSON between worker and launcher, and the careful reading of JSON that came from a cell."""

from __future__ import annotations

import json
import math
import struct
from typing import Any, Final, NoReturn

#: deepest nesting that is decoded; the decoder itself recurses
MAX_DEPTH: Final = 64
#: longest frame between worker and launcher (the code, or one event)
MAX_FRAME: Final = 64 << 20
_HEAD: Final = struct.Struct(">I")


class BadJson(ValueError):
    """Text that is no acceptable JSON."""


def encode(message: dict[str, Any]) -> bytes:
    """One frame."""
    body = json.dumps(message, separators=(",", ":")).encode()
    return _HEAD.pack(len(body)) + body


class Decoder:
    """Takes bytes as they come, gives the frames that are complete."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """Add bytes; return the messages they complete.

        Raises:
            BadJson: a frame is longer than allowed or no JSON object.
        """
        self._data += data
        messages = []
        while len(self._data) >= _HEAD.size:
            (length,) = _HEAD.unpack_from(self._data)
            if length > MAX_FRAME:
                raise BadJson(f"frame of {length} bytes")
            end = _HEAD.size + length
            if len(self._data) < end:
                break
            message = json.loads(self._data[_HEAD.size : end])
            if not isinstance(message, dict):
                raise BadJson("frame is no object")
            messages.append(message)
            del self._data[:end]
        return messages


def loads(data: bytes) -> Any:
    """Decode JSON written by a hostile hand.

    Raises:
        BadJson: too deep, not JSON, or numbers that JSON does not know.
    """
    if depth(data) > MAX_DEPTH:
        raise BadJson("nested too deeply")
    try:
        value = json.loads(data, parse_constant=_no_constant, parse_float=_finite)
    except (ValueError, RecursionError) as err:
        raise BadJson(str(err)) from None
    return clean(value)


def depth(data: bytes) -> int:
    """How deep brackets nest, without recursion; brackets inside strings do not count."""
    deepest = level = 0
    in_string = False
    position, end = 0, len(data)
    while position < end:
        byte = data[position]
        if in_string:
            # leap from quote to quote: most bytes of a bundle are one long string
            quote = data.find(b'"', position)
            if quote < 0:
                break
            slash = data.find(b"\\", position, quote)
            if slash >= 0:
                position = slash + 2
                continue
            in_string = False
            position = quote
        elif byte == 0x22:
            in_string = True
        elif byte in b"[{":
            level += 1
            deepest = max(deepest, level)
        elif byte in b"]}":
            level -= 1
        position += 1
    return deepest


def clean(value: Any) -> Any:
    """Make every string encodable: a lone surrogate is legal in JSON and fatal to whoever encodes it."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, dict):
        return {clean_text(key): clean(item) for key, item in value.items()}
    if isinstance(value, list):
        return [clean(item) for item in value]
    return value


def clean_text(text: str) -> str:
    """Replace lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _finite(text: str) -> float:
    # 1e999 is read as infinity, which could not be written as JSON again
    number = float(text)
    if not math.isfinite(number):
        raise BadJson(f"{text[:32]} is too large a number")
    return number


def _no_constant(name: str) -> NoReturn:
    raise BadJson(f"{name} is no JSON number")
