"""Everything a cell sends, made into capped, checked events. Nothing here trusts a byte of it."""

from __future__ import annotations

import contextlib
import json
from typing import Any, Final

from ..protocol import framing, messages, packets
from .event_buffer import EVENT_COST, MOST_EVENTS, EventBuffer, truncated
from .kept_output import DisplayTail, Text

#: a stream that goes on beyond this many times its cap ends the run
FLOOD: Final = 10
#: messages being put together at a time; more can only be an attack
_OPEN_PARTS: Final = 64
#: MIME types of one display; a notebook's have a handful
_MIME_TYPES: Final = 50


class Collector:
    """The output of one run."""

    def __init__(self, cap: int, token: str) -> None:
        """Start empty.

        Args:
            cap: bytes kept of stdout, of stderr and of displays, each, with what their events cost.
            token: what the runner signs its own reports with.
        """
        self._cap, self._token = cap, token
        self._end_head = json.dumps([messages.EndReport.__name__, token], separators=(",", ":"))[:-1].encode()
        self._texts = {name: Text(cap) for name in ("stdout", "stderr")}
        self._displays = self._display_total = 0
        self._display_tail: DisplayTail | None = None  # only once the displays have used up their limit
        self._parts: dict[bytes, bytearray] = {}
        self._part_bytes = 0
        self._end_name: bytes | None = None  # of the first message in parts that is an end report
        self._end_parts = bytearray()
        self._end_bytes = 0  # of the largest end report
        self._buffer = EventBuffer()
        self.end: messages.EndReport | None = None  #: the runner's report
        self.dropped = {"stdout": 0, "stderr": 0, "display": 0, "junk": 0}

    @property
    def flooded(self) -> str | None:
        """The stream that went far beyond its cap, or ``end`` for an end report beyond its own; None if none did."""
        if self._end_bytes > messages.LARGEST_END:
            return "end"
        for name, text in self._texts.items():
            if text.total > FLOOD * self._cap:
                return name
        if self._display_total > FLOOD * self._cap:
            return "display"
        return "junk" if self.dropped["junk"] > FLOOD * self._cap else None

    def bytes_of(self, name: str) -> int:
        """How much came on one stream, kept or not."""
        if name in ("junk", "end"):
            return self.dropped["junk"] if name == "junk" else self._end_bytes
        return self._texts[name].total if name in self._texts else self._display_total

    def raw(self, name: str, data: bytes) -> None:
        """Take bytes of descriptor 1 or 2."""
        self._text(name, data, "raw")

    def packet(self, data: bytes) -> None:
        """Take one packet of the event channel."""
        kind, payload = data[:1], data[1:]
        if kind in (packets.STDOUT, packets.STDERR):
            if payload:
                self._text("stdout" if kind == packets.STDOUT else "stderr", payload, "channel")
            else:
                self.dropped["junk"] += EVENT_COST  # no stream of ours sends it, and reading it takes time
        elif kind == packets.MESSAGE:
            self._message(payload)
        elif kind == packets.PART and len(data) > packets.PART_HEAD:
            self._part(payload)
        else:
            self.dropped["junk"] += len(data)

    @property
    def waiting(self) -> bool:
        """Whether there are events to take."""
        return bool(self._buffer)

    @property
    def window_s(self) -> float:
        """Seconds from one :meth:`take` to the next, so that neighbouring events become one."""
        return self._buffer.window_s

    def take(self) -> list[dict[str, Any]]:
        """The events since the last call."""
        return self._buffer.take()

    def finish(self) -> None:
        """No more will come: make the tails and their markers events."""
        tail = self._display_tail
        if tail is not None and tail.cleared:
            self._buffer.event({"type": "clear_output", "wait": False})
        for name, text in self._texts.items():
            rest, dropped, last = text.finish()
            if rest:
                self._buffer.text(name, rest)
            if dropped:
                self.dropped[name] = dropped
                self._buffer.event(truncated(name, dropped))
            if last:
                self._buffer.text(name, last)
        if tail is not None:
            if tail.dropped_events:
                self.dropped["display"] += tail.dropped_bytes
                self._buffer.event(truncated("display", tail.dropped_bytes, tail.dropped_events))
            for event in tail.events():
                self._buffer.event(event)
        for part in self._parts.values():
            self.dropped["junk"] += len(part)

    def truncated(self) -> dict[str, int]:
        """Bytes dropped, by stream; nothing for what is complete."""
        return {name: count for name, count in self.dropped.items() if count}

    def _text(self, name: str, data: bytes, source: str) -> None:
        stream = self._texts[name]
        if text := stream.add(data, source):
            stream.charge(self._buffer.text(name, text))
            if self._buffer.made >= MOST_EVENTS:
                self._end_heads()

    def _end_heads(self) -> None:
        """Pass nothing more on live: from now on only the tails are kept."""
        for text in self._texts.values():
            text.end_head()
        if self._display_tail is None:
            self._display_tail = DisplayTail(self._cap // 4)

    def _part(self, payload: bytes) -> None:
        name, last, data = payload[:8], payload[8:9] == b"\1", payload[9:]
        if self._end_name is None and name not in self._parts and data.startswith(self._end_head):
            self._end_name = name
        if name == self._end_name:
            self._end_part(data, last=last)
            return
        room = 2 * self._cap + (1 << 20)
        if self._part_bytes + len(data) > room or (name not in self._parts and len(self._parts) >= _OPEN_PARTS):
            # forget this message; its later parts start a new one that will be no JSON
            lost = self._parts.pop(name, bytearray())
            self._part_bytes -= len(lost)
            self._drop_display(len(lost) + len(data))
            return
        buffer = self._parts.setdefault(name, bytearray())
        buffer += data
        self._part_bytes += len(data)
        if last:
            del self._parts[name]
            self._part_bytes -= len(buffer)
            self._message(bytes(buffer))

    def _end_part(self, data: bytes, *, last: bool) -> None:
        """Take a part of the end report, which has room of its own: unfinished messages cannot take it."""
        self._end_bytes += len(data)
        if self._end_bytes > messages.LARGEST_END:
            self._end_parts.clear()
            self.dropped["junk"] += len(data)
            return
        self._end_parts += data
        if last:
            self._end_name, self._end_bytes = b"", 0
            self._message(bytes(self._end_parts))
            self._end_parts.clear()

    def _message(self, data: bytes) -> None:
        # what would be dropped anyway is not read: reading takes the launcher's time, which is everybody's
        if len(data) > self._cap and (self.end is not None or not data.startswith(self._end_head)):
            self._drop_display(len(data))
            return
        try:
            message = framing.loads(data)
        except framing.BadJson:
            self.dropped["junk"] += len(data)
            return
        if isinstance(message, list):
            self._take_end(message, len(data))
        elif not isinstance(message, dict) or not isinstance(message.get("type"), str):
            self.dropped["junk"] += len(data)
        else:
            self._display(message, len(data))

    def _take_end(self, value: list[Any], size: int) -> None:
        message: object = None
        with contextlib.suppress(messages.BadMessage):
            message = messages.from_json(value)
        genuine = isinstance(message, messages.EndReport) and message.token == self._token
        if not genuine:
            self.dropped["junk"] += size
            return
        assert isinstance(message, messages.EndReport)
        # several ends can only be forged; the worst of them counts
        if self.end is None or self.end.status == "ok":
            self.end = message

    def _display(self, message: dict[str, Any], size: int) -> None:
        event = _checked(message)
        if event is None:
            self.dropped["junk"] += size
            return
        size += EVENT_COST
        self._display_total += size
        if event["type"] == "clear_output":
            self._clear(event, size)
            return
        waiting = self._buffer.replaceable(event)
        used = self._displays + size - (waiting or 0)
        if self._display_tail is None and used > self._cap and size <= self._cap:
            self._display_tail = DisplayTail(self._cap // 4)
        if self._display_tail is not None:
            self._display_tail.add(event, size)
        elif size > self._cap:
            self._drop_display(size, counted=True)
        else:
            self._displays = used
            if waiting is None:
                self._buffer.display(event, size)
            else:
                self._buffer.replace(event, size)
            if self._buffer.made >= MOST_EVENTS:
                self._end_heads()

    def _clear(self, event: dict[str, Any], size: int) -> None:
        if self._display_tail is None and self._displays + size <= self._cap:
            self._displays += size
            self._buffer.event(event)
            return
        # text that is passed on later would be cleared by a clear_output at the end: so all waits for the end
        self._end_heads()
        assert self._display_tail is not None
        self._display_tail.clear()
        for text in self._texts.values():
            text.forget_tail()

    def _drop_display(self, size: int, *, counted: bool = False) -> None:
        if not counted:
            size += EVENT_COST
            self._display_total += size
        if self._display_tail is not None:
            self._display_tail.dropped_bytes += size
            self._display_tail.dropped_events += 1
            return
        self.dropped["display"] += size
        if self._buffer.mark_truncated("display", size, 1):
            self._displays += EVENT_COST
            if self._buffer.made >= MOST_EVENTS:
                self._end_heads()


def _fits(mime: str, value: Any) -> bool:
    """Whether a notebook may hold this: JSON of any kind where the type says so, text everywhere else."""
    if "/" not in mime:
        return False
    return mime.endswith(("/json", "+json")) or isinstance(value, str)


def _checked(message: dict[str, Any]) -> dict[str, Any] | None:
    """The event with its known fields only, or nothing if it is none."""
    kind = message["type"]
    if kind == "clear_output":
        return {"type": kind, "wait": message.get("wait") is True}
    if kind not in ("display_data", "update_display_data", "execute_result"):
        return None
    data, metadata = message.get("data"), message.get("metadata")
    if (
        not isinstance(data, dict)
        or len(data) > _MIME_TYPES
        or not all(_fits(mime, value) for mime, value in data.items())
    ):
        return None
    event: dict[str, Any] = {"type": kind, "data": data, "metadata": metadata if isinstance(metadata, dict) else {}}
    transient = message.get("transient")
    if isinstance(transient, dict) and isinstance(transient.get("display_id"), str):
        event["transient"] = {"display_id": transient["display_id"][:256]}
    if kind == "execute_result":
        event["execution_count"] = 1
    return event
