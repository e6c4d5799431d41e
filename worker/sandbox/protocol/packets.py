"""Packets of the event channel: one write to a packet-mode pipe each, so writers never interleave.

A packet is one kind byte and a payload. ``o`` and ``e`` carry raw bytes of stdout and stderr, ``j`` one JSON
message, ``p`` a part of a longer JSON message: 8 bytes id, 1 byte last-part flag, bytes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

#: the kernel keeps writes up to this size whole
PACKET: Final = 4096
STDOUT, STDERR, MESSAGE, PART = b"o", b"e", b"j", b"p"
PART_HEAD: Final = 10


def pieces(data: bytes) -> Iterator[bytes]:
    """Cut UTF-8 text where a character ends, into payloads that fit one packet."""
    start, room = 0, PACKET - 1
    while start < len(data):
        end = min(start + room, len(data))
        cut = end
        # continuation bytes look like 10xxxxxx; give up after one character's length
        while cut < len(data) and end - cut < 4 and data[cut] & 0xC0 == 0x80:
            cut -= 1
        if cut <= start or end - cut >= 4:
            cut = end
        yield data[start:cut]
        start = cut


def message(data: bytes) -> Iterator[bytes]:
    """The packets of one JSON message."""
    if len(data) < PACKET:
        yield MESSAGE + data
        return
    name, room = os.urandom(8), PACKET - PART_HEAD
    for start in range(0, len(data), room):
        last = start + room >= len(data)
        yield PART + name + (b"\1" if last else b"\0") + data[start : start + room]
