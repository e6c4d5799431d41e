"""Everything a cell sends, made into capped, checked events. Nothing here trusts a byte of it."""

from __future__ import annotations

import codecs
import json
from typing import Any, Final

from ..protocol import framing, packets

#: a stream that goes on beyond this many times its cap ends the run
FLOOD: Final = 10
_SOURCES: Final = ("channel", "raw")
#: messages being put together at a time; more can only be an attack
_OPEN_PARTS: Final = 64
#: what an event costs beside its bytes, so that empty ones are bounded too
_EVENT_COST: Final = 64
_TEXT_FIELD: Final = 1 << 18


class _Text:
    """One text stream: the head is passed on live, of the rest the tail is kept."""

    def __init__(self, name: str, cap: int) -> None:
        self.name, self.total = name, 0
        self._head, self._tail_cap = cap - cap // 4, cap // 4
        self._tail = bytearray()
        self._decoders = {source: codecs.getincrementaldecoder("utf-8")("replace") for source in _SOURCES}

    def add(self, data: bytes, source: str) -> str:
        """Take bytes; return the text to pass on now."""
        self.total += len(data)
        text = self._decoders[source].decode(data)
        if self._head <= 0:
            self._keep(text.encode())
            return ""
        encoded = text.encode()
        if len(encoded) <= self._head:
            self._head -= len(encoded)
            return text
        live = encoded[: self._head].decode("utf-8", "ignore")
        self._head = 0
        self._keep(encoded[len(live.encode()) :])
        return live

    def finish(self) -> tuple[str, int, str]:
        """What was still undecoded, how many bytes are missing, and the tail after them."""
        rest = "".join(decoder.decode(b"", True) for decoder in self._decoders.values())
        if self._head > 0:
            return rest, 0, ""
        self._keep(rest.encode())
        dropped = max(0, len(self._tail) - self._tail_cap) + self._lost
        return "", dropped, bytes(self._tail[-self._tail_cap :]).decode("utf-8", "ignore")

    _lost = 0

    def _keep(self, data: bytes) -> None:
        self._tail += data
        # cut seldom: cutting moves the whole tail
        if len(self._tail) > 2 * self._tail_cap + len(data):
            excess = len(self._tail) - self._tail_cap
            self._lost += excess
            del self._tail[:excess]


class Collector:
    """The output of one run."""

    def __init__(self, cap: int, token: str) -> None:
        """Start empty.

        Args:
            cap: bytes kept of stdout, of stderr and of displays, each.
            token: what the runner signs its own reports with.
        """
        self._cap, self._token = cap, token
        self._end_head = json.dumps({"type": "end", "token": token})[:-1].encode()
        self._texts = {name: _Text(name, cap) for name in ("stdout", "stderr")}
        self._displays = self._display_total = 0
        self._parts: dict[bytes, bytearray] = {}
        self._part_bytes = 0
        self._ready: list[dict[str, Any]] = []
        self.end: dict[str, Any] | None = None  #: the runner's report
        self.dropped = {"stdout": 0, "stderr": 0, "display": 0, "junk": 0}

    @property
    def flooded(self) -> str | None:
        """The stream that went far beyond its cap, if one did."""
        for name, text in self._texts.items():
            if text.total > FLOOD * self._cap:
                return name
        if self._display_total > FLOOD * self._cap:
            return "display"
        return "junk" if self.dropped["junk"] > FLOOD * self._cap else None

    def bytes_of(self, name: str) -> int:
        """How much came on one stream, kept or not."""
        if name == "junk":
            return self.dropped["junk"]
        return self._texts[name].total if name in self._texts else self._display_total

    def raw(self, name: str, data: bytes) -> None:
        """Take bytes of descriptor 1 or 2."""
        self._text(name, data, "raw")

    def packet(self, data: bytes) -> None:
        """Take one packet of the event channel."""
        kind, payload = data[:1], data[1:]
        if kind in (packets.STDOUT, packets.STDERR):
            self._text("stdout" if kind == packets.STDOUT else "stderr", payload, "channel")
        elif kind == packets.MESSAGE:
            self._message(payload)
        elif kind == packets.PART and len(data) > packets.PART_HEAD:
            self._part(payload)
        else:
            self.dropped["junk"] += len(data)

    def take(self) -> list[dict[str, Any]]:
        """The events since the last call, adjacent text put together."""
        ready, self._ready = self._ready, []
        return ready

    def finish(self) -> None:
        """No more will come: make the tails and their markers events."""
        for name, text in self._texts.items():
            rest, dropped, tail = text.finish()
            if rest:
                self._emit_text(name, rest)
            if dropped:
                self.dropped[name] = dropped
                self._ready.append({"type": "truncated", "name": name, "bytes": dropped})
            if tail:
                self._emit_text(name, tail)
        for part in self._parts.values():
            self.dropped["junk"] += len(part)

    def truncated(self) -> dict[str, int]:
        """Bytes dropped, by stream; nothing for what is complete."""
        return {name: count for name, count in self.dropped.items() if count}

    def _text(self, name: str, data: bytes, source: str) -> None:
        text = self._texts[name].add(data, source)
        if text:
            self._emit_text(name, text)

    def _emit_text(self, name: str, text: str) -> None:
        last = self._ready[-1] if self._ready else None
        if last and last["type"] == "stream" and last["name"] == name and len(last["text"]) < _TEXT_FIELD:
            last["text"] += text
        else:
            self._ready.append({"type": "stream", "name": name, "text": text})

    def _part(self, payload: bytes) -> None:
        name, last, data = payload[:8], payload[8:9] == b"\1", payload[9:]
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
        if not isinstance(message, dict) or not isinstance(message.get("type"), str):
            self.dropped["junk"] += len(data)
        elif message["type"] == "end":
            self._take_end(message, len(data))
        else:
            self._display(message, len(data))

    def _take_end(self, message: dict[str, Any], size: int) -> None:
        if message.get("token") != self._token or size > 4 * self._cap + (1 << 20):
            self.dropped["junk"] += size
            return
        # several ends can only be forged; the worst of them counts
        if self.end is None or self.end.get("status") == "ok":
            self.end = message

    def _display(self, message: dict[str, Any], size: int) -> None:
        event = _checked(message)
        if event is None:
            self.dropped["junk"] += size
            return
        self._display_total += size + _EVENT_COST
        if self._displays + size + _EVENT_COST > self._cap:
            self._drop_display(size, counted=True)
            return
        self._displays += size + _EVENT_COST
        self._ready.append(event)

    def _drop_display(self, size: int, *, counted: bool = False) -> None:
        if not counted:
            self._display_total += size + _EVENT_COST
        self.dropped["display"] += size
        last = self._ready[-1] if self._ready else None
        if last and last["type"] == "truncated" and last["name"] == "display":
            last["bytes"] += size
        elif self._displays + _EVENT_COST <= 2 * self._cap:
            self._displays += _EVENT_COST
            self._ready.append({"type": "truncated", "name": "display", "bytes": size})


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
    if not isinstance(data, dict) or not all(_fits(mime, value) for mime, value in data.items()):
        return None
    event: dict[str, Any] = {"type": kind, "data": data, "metadata": metadata if isinstance(metadata, dict) else {}}
    transient = message.get("transient")
    if isinstance(transient, dict) and isinstance(transient.get("display_id"), str):
        event["transient"] = {"display_id": transient["display_id"][:256]}
    if kind == "execute_result":
        event["execution_count"] = 1
    return event
