"""Length-framed messages between worker and launcher, and the careful reading of JSON that came from a cell."""

from __future__ import annotations

import json
import math
import re
import struct
from typing import Any, Final, NoReturn

from . import messages

#: deepest nesting that is decoded; the decoder itself recurses
MAX_DEPTH: Final = 64
#: longest frame between worker and launcher (the code, or one event)
MAX_FRAME: Final = 64 << 20
_HEAD: Final = struct.Struct(">I")
_ESCAPE: Final = re.compile(rb"\\.", re.DOTALL)
#: an escape, or the bytes, of half a character; also of one half of a whole pair, which does no harm
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]|\xed[\xa0-\xbf]")
_SQUARE: Final = bytes.maketrans(b"{}", b"[]")
_NO_BRACKET: Final = bytes(set(range(256)) - set(b"[]{}"))


class BadJson(ValueError):
    """Text that is no acceptable JSON."""


def encode(message: messages.Message) -> bytes:
    """The frame of a message."""
    body = messages.encode(message)
    return _HEAD.pack(len(body)) + body


class Decoder:
    """Takes bytes as they come and gives the messages that are complete."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> list[messages.Message]:
        """Add bytes; return the messages that they complete.

        Raises:
            BadMessage: a frame is longer than allowed, or holds no message.
        """
        self._data += data
        complete = []
        while len(self._data) >= _HEAD.size:
            (length,) = _HEAD.unpack_from(self._data)
            if length > MAX_FRAME:
                raise messages.BadMessage(f"frame of {length} bytes")
            end = _HEAD.size + length
            if len(self._data) < end:
                break
            complete.append(messages.decode(self._data[_HEAD.size : end]))
            del self._data[:end]
        return complete


def loads(data: bytes) -> Any:
    """Decode JSON written by a hostile hand.

    Raises:
        BadJson: too deep, not JSON, or numbers that JSON does not know.
    """
    if depth(data) > MAX_DEPTH:
        raise BadJson("nested too deeply")
    try:
        value = json.loads(data, parse_constant=_no_constant, parse_float=_finite)
        # a lone surrogate is legal in JSON and fatal to whoever encodes it
        return json.loads(_without_surrogates(value)) if _SURROGATE.search(data) else value
    except (ValueError, RecursionError) as err:
        raise BadJson(str(err)) from None


def depth(data: bytes) -> int:
    """How deep brackets nest, without recursion; brackets inside strings do not count.

    Counts to one beyond :data:`MAX_DEPTH`, and so much for what is not closed. A cell chooses what is read here, and
    the launcher has one thread: no step may take longer than a pass over the bytes.
    """
    outside = b"".join(_ESCAPE.sub(b"", data).split(b'"')[::2])
    brackets = outside.translate(_SQUARE, _NO_BRACKET)
    level = 0
    while brackets and level <= MAX_DEPTH:
        before = len(brackets)
        brackets = brackets.replace(b"[]", b"")  # the innermost, everywhere
        if len(brackets) == before:
            return MAX_DEPTH + 1
        level += 1
    return level


def _without_surrogates(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _finite(text: str) -> float:
    # 1e999 is read as infinity, which could not be written as JSON again
    number = float(text)
    if not math.isfinite(number):
        raise BadJson(f"{text[:32]} is too large a number")
    return number


def _no_constant(name: str) -> NoReturn:
    raise BadJson(f"{name} is no JSON number")
