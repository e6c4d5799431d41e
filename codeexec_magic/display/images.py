"""What it costs to decode an image, read from its headers without decoding it. Pure.

A few kilobytes can announce gigapixels, or thousands of frames; the browser would decode them all.
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
from collections.abc import Callable, Mapping
from typing import Final

#: Images of more pixels, over all frames together, are not shown: 40 megapixels are 160 MB in a browser.
MAX_PIXELS: Final = 40_000_000
#: For animations, the sum over all frames.
MAX_ANIMATED_PIXELS: Final = 400_000_000
MAX_FRAMES: Final = 2_000
MAX_SIDE: Final = 30_000
#: A JPEG with more scans takes minutes to decode; encoders write about ten.
_MAX_SCANS: Final = 64
_PNG: Final = b"\x89PNG\r\n\x1a\n"
DATA_URL: Final = re.compile(r"data:(image/(?:png|jpeg|gif|webp));base64,([A-Za-z0-9+/=\s]*)\Z", re.I)

#: width, height, frames
Size = tuple[int, int, int]


def pixels(mime: str, encoded: str) -> int | None:
    """How many pixels a base64 image decodes to, over all frames; None if it is no such image, or too large.

    Args:
        mime: one of ``image/png``, ``image/jpeg``, ``image/gif`` and ``image/webp``.
        encoded: its content.
    """
    try:
        content = base64.b64decode("".join(encoded.split()), validate=True)
        size = _READERS[mime.lower()](content)
    except (binascii.Error, ValueError, KeyError, IndexError, struct.error):
        return None
    if size is None:
        return None
    width, height, frames = size
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE and 0 < frames <= MAX_FRAMES):
        return None
    if width * height > MAX_PIXELS or width * height * frames > MAX_ANIMATED_PIXELS:
        return None
    return width * height * frames


def data_url_pixels(url: str) -> int | None:
    """The same for a ``data:`` URL."""
    found = DATA_URL.match(url.strip())
    return pixels(found[1], found[2]) if found else None


def _png(content: bytes) -> Size | None:
    if not content.startswith(_PNG) or content[12:16] != b"IHDR":
        return None
    width, height = struct.unpack(">II", content[16:24])
    position, frames = 8, 1
    while position + 8 <= len(content):
        length, kind = struct.unpack(">I4s", content[position : position + 8])
        if kind == b"acTL":
            frames = max(1, struct.unpack(">I", content[position + 8 : position + 12])[0])
        position += 12 + length
    return width, height, frames


def _jpeg(content: bytes) -> Size | None:
    if not content.startswith(b"\xff\xd8\xff"):
        return None
    position, size, scans = 2, None, 0
    while position + 4 <= len(content):
        if content[position] != 0xFF:
            # compressed data of a scan: go to the next marker that is not stuffing, a restart or padding
            position = content.find(b"\xff", position)
            if position < 0:
                break
        marker = content[position + 1]
        if marker in (0x00, 0x01, 0xFF, *range(0xD0, 0xD9)):
            position += 1 if marker == 0xFF else 2
            continue
        if marker == 0xD9:
            break
        length = struct.unpack(">H", content[position + 2 : position + 4])[0]
        if marker in range(0xC0, 0xD0) and marker not in (0xC4, 0xC8, 0xCC):
            if size is not None:
                return None
            height, width = struct.unpack(">HH", content[position + 5 : position + 9])
            size = (width, height, 1)
        scans += marker == 0xDA
        position += 2 + length
    return size if scans <= _MAX_SCANS else None


def _gif(content: bytes) -> Size | None:
    if content[:6] not in (b"GIF87a", b"GIF89a"):
        return None
    width, height = struct.unpack("<HH", content[6:10])
    position, frames = 13 + _palette(content[10]), 0
    while position < len(content):
        kind = content[position]
        if kind == 0x3B:
            break
        if kind == 0x2C:
            left, top, wide, high = struct.unpack("<HHHH", content[position + 1 : position + 9])
            # a frame may be larger than the screen that the header announces
            width, height = max(width, left + wide), max(height, top + high)
            frames += 1
            position += 11 + _palette(content[position + 9])
        elif kind == 0x21:
            position += 2
        else:
            break
        while position < len(content) and content[position]:
            position += 1 + content[position]
        position += 1
    return width, height, max(1, frames)


def _palette(flags: int) -> int:
    """Bytes of a colour table."""
    return 3 << (1 + (flags & 7)) if flags & 0x80 else 0


def _webp(content: bytes) -> Size | None:
    if content[:4] != b"RIFF" or content[8:12] != b"WEBP":
        return None
    kind = content[12:16]
    if kind == b"VP8X":
        width, height = (1 + int.from_bytes(content[at : at + 3], "little") for at in (24, 27))
        return width, height, max(1, content.count(b"ANMF"))
    if kind == b"VP8L":
        bits = int.from_bytes(content[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF), 1
    if kind == b"VP8 ":
        width, height = struct.unpack("<HH", content[26:30])
        return width & 0x3FFF, height & 0x3FFF, 1
    return None


_READERS: Final[Mapping[str, Callable[[bytes], Size | None]]] = {
    "image/png": _png,
    "image/jpeg": _jpeg,
    "image/gif": _gif,
    "image/webp": _webp,
}
#: The types that are known here; WebP only inside of HTML.
KINDS: Final = frozenset({"image/png", "image/jpeg", "image/gif"})
