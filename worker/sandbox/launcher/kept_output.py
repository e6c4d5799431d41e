"""What is kept of a cell's output beyond its limit: the head, which is passed on live, and the tail."""

from __future__ import annotations

import codecs
from typing import Any, Final

from .event_buffer import EVENT_COST, display_id

_SOURCES: Final = ("channel", "raw")
#: control characters that JSON writes with six bytes
_LONG_ESCAPES: Final = bytes(set(range(32)) - set(b"\n\r\t\b\f"))
#: displays kept at the end
_TAIL_DISPLAYS: Final = 100


def cost(data: bytes | bytearray) -> int:
    """Bytes of a text as JSON, without the quotes."""
    return len(data) + 5 * (len(data) - len(data.translate(None, _LONG_ESCAPES)))


class Text:
    """One text stream: the head is passed on live, of the rest the tail is kept."""

    def __init__(self, cap: int) -> None:
        """Start empty.

        Args:
            cap: bytes kept; a quarter of them is for the tail.
        """
        self.total = 0  #: bytes that arrived
        self._head, self._tail_cap = cap - cap // 4, cap // 4
        self._tail = bytearray()
        self._lost = 0
        self._decoders = {source: codecs.getincrementaldecoder("utf-8")("replace") for source in _SOURCES}

    def add(self, data: bytes, source: str) -> str:
        """Take bytes; return the text to pass on now."""
        self.total += len(data)
        text = self._decoders[source].decode(data)
        encoded = text.encode()
        price = cost(encoded)
        if price <= self._head:
            self._head -= price
            return text
        live = encoded[: max(0, self._head) * len(encoded) // price].decode("utf-8", "ignore") if price else ""
        self._head = 0
        self._keep(encoded[len(live.encode()) :])
        return live

    def charge(self, events: int) -> None:
        """Count events that the text was made into against the head."""
        self._head -= events * EVENT_COST

    def end_head(self) -> None:
        """Pass nothing more on live."""
        self._head = 0

    def forget_tail(self) -> None:
        """The cell has cleared its output: what waits would not be shown any more."""
        self._lost += len(self._tail)
        self._tail.clear()

    def finish(self) -> tuple[str, int, str]:
        """What was still undecoded, how many bytes are missing, and the tail after them."""
        rest = "".join(decoder.decode(b"", True) for decoder in self._decoders.values())
        if self._head > 0:
            return rest, 0, ""
        self._keep(rest.encode())
        tail = self._tail[-self._tail_cap :]
        while cost(tail) > self._tail_cap:
            del tail[: len(tail) // 8 + 1]
        text = tail.decode("utf-8", "ignore")
        return "", self._lost + len(self._tail) - len(text.encode()), text

    def _keep(self, data: bytes) -> None:
        self._tail += data
        # cut seldom: cutting moves the whole tail
        if len(self._tail) > 2 * self._tail_cap + len(data):
            excess = len(self._tail) - self._tail_cap
            self._lost += excess
            del self._tail[:excess]


class DisplayTail:
    """The last displays of a run whose displays have used up their limit."""

    def __init__(self, cap: int) -> None:
        """Start empty.

        Args:
            cap: bytes kept.
        """
        self._cap = cap
        self._kept: dict[str | int, tuple[dict[str, Any], int]] = {}
        self._bytes = self._number = 0
        self.cleared = False  #: the cell has cleared its output since its displays go here
        self.dropped_bytes = self.dropped_events = 0

    def add(self, event: dict[str, Any], size: int) -> None:
        """Keep a display and drop the oldest ones instead; an update takes the place of the update before."""
        self._number += 1
        name: str | int = self._number
        if event["type"] == "update_display_data":
            name = display_id(event) or name
        if name in self._kept:
            self._drop(name)
        if size > self._cap:
            self.dropped_bytes += size
            self.dropped_events += 1
            return
        self._kept[name] = (event, size)
        self._bytes += size
        while self._bytes > self._cap or len(self._kept) > _TAIL_DISPLAYS:
            self._drop(next(iter(self._kept)))

    def clear(self) -> None:
        """The cell has cleared its output."""
        self.cleared = True
        for name in list(self._kept):
            self._drop(name)

    def events(self) -> list[dict[str, Any]]:
        """What is kept."""
        return [event for event, _ in self._kept.values()]

    def _drop(self, name: str | int) -> None:
        _, size = self._kept.pop(name)
        self._bytes -= size
        self.dropped_bytes += size
        self.dropped_events += 1
