"""Sizes and durations as people write them: the same for the magic, the command line and the panel."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

_SIZE: Final = re.compile(r"(\d{1,15}(?:\.\d{1,15})?|\.\d{1,15})\s*([KMGT]?)(i?B)?", re.IGNORECASE | re.ASCII)
_BYTES: Final = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
_TIME: Final = re.compile(r"(\d{1,12}(?:\.\d{0,12})?|\.\d{1,12})\s*(ms|[smhd]?)", re.IGNORECASE | re.ASCII)
_SECONDS: Final = {"ms": 0.001, "": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_EXAMPLES: Final = "write 512MB, 2GB or 1.5G"


def megabytes(text: str) -> int:
    """A size like ``512MB``, ``2G``, ``1.5GiB`` or ``2048K``; K, M, G and T are powers of 1024, a bare number means MB.

    Raises:
        ValueError: it is no size, less than 1 MB, or no whole number of MB.
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is not a size: {_EXAMPLES}")
    number, unit, byte = found.groups()
    size = Fraction(number) * (_BYTES[unit.upper()] if unit or byte else _BYTES["M"]) / _BYTES["M"]
    if size < 1:
        raise ValueError(f"{text!r} is less than 1 MB: {_EXAMPLES}")
    if size.denominator != 1:
        raise ValueError(f"{text!r} is not a whole number of MB: {_EXAMPLES}")
    return int(size)


def seconds(text: str) -> float:
    """A duration: seconds like ``90`` or ``2.5``, or with a unit, like ``250ms``, ``90s``, ``5m``, ``1h``, ``1d``.

    Raises:
        ValueError: it is none, or not above 0.
    """
    found = _TIME.fullmatch(text.strip())
    value = float(found[1]) * _SECONDS[found[2].lower()] if found else 0.0
    if value <= 0:
        raise ValueError(f"{text!r} is not a time: write seconds above 0, or 5m, or 1h")
    return value


def count(text: str) -> int:
    """A whole number from 0.

    Raises:
        ValueError: it is none.
    """
    if not (text.isascii() and text.isdecimal() and len(text) <= 9):
        raise ValueError(f"{text!r} is not a number: write 0, 1, 2 …")
    return int(text)


def size_text(size: int) -> str:
    """Bytes as people read them.

    Args:
        size: bytes.
    """
    number, unit = float(size), "bytes"
    for larger in ("KB", "MB", "GB", "TB"):
        if number < 1000:
            break
        number, unit = number / 1024, larger
    return f"{size} bytes" if unit == "bytes" else f"{number:.3g} {unit}"
