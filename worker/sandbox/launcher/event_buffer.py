"""Events that wait to be passed on to the worker, and how neighbours become one event.

Every event costs the worker, Redis, each reader and the notebook about a hundred bytes and a message, however short its
text is. So what arrives within a short time is put together:

- Text joins the text before it if both are of the same stream.
- Up to :data:`EXACT_EVENTS` events, the order of stdout and stderr is exact to the byte. After that, a line stays
  whole in the place where it began, so that streams that alternate within a line become two events. Lines keep
  their order.
- An update of a display takes the place of an update that still waits.
"""

from __future__ import annotations

from typing import Any, Final

#: what an event costs beside its own bytes: the names of its fields, its number, its entry in Redis (bytes)
EVENT_COST: Final = 100
#: events of a run that are passed on live; of what comes later only a tail is kept. Everybody who comes after the
#: launcher has room for them, so nobody else cuts anything and all readers see the same
MOST_EVENTS: Final = 10_000
#: so many events keep the order of the streams exactly; later ones keep it line by line
EXACT_EVENTS: Final = 1000
#: shortest and longest time between two deliveries (seconds)
_WINDOW_S: Final = (0.025, 1.0)
#: longest text of one event (characters)
_TEXT_FIELD: Final = 1 << 18


class _Chunk:
    """Text of one stream that becomes one event; a list, because appending to a long string copies it."""

    def __init__(self, name: str) -> None:
        self.name, self.size, self._parts = name, 0, list[str]()

    def add(self, text: str) -> None:
        self._parts.append(text)
        self.size += len(text)

    def event(self) -> dict[str, Any]:
        return {"type": "stream", "name": self.name, "text": "".join(self._parts)}


class EventBuffer:
    """The events of one run that were not taken yet."""

    def __init__(self) -> None:
        self.made = 0  #: events so far, those that were taken included
        self._waiting: list[_Chunk | dict[str, Any]] = []
        self._unfinished: dict[str, _Chunk] = {}  # by stream: the chunk that ends in the stream's unfinished line
        self._updates: dict[str, tuple[dict[str, Any], int]] = {}  # by display id: the waiting update and its size

    def __bool__(self) -> bool:
        return bool(self._waiting)

    @property
    def window_s(self) -> float:
        """Seconds to wait after a delivery; it grows with the events, so that long runs do not make too many."""
        shortest, longest = _WINDOW_S
        return min(longest, shortest * max(1.0, (self.made / EXACT_EVENTS) ** 2))

    def take(self) -> list[dict[str, Any]]:
        """The waiting events, which change no more."""
        events = [one.event() if isinstance(one, _Chunk) else one for one in self._waiting]
        self._waiting.clear()
        self._unfinished.clear()
        self._updates.clear()
        return events

    def text(self, name: str, text: str) -> int:
        """Add text of a stream; returns how many events this made."""
        last = self._waiting[-1] if self._waiting else None
        if isinstance(last, _Chunk) and last.name == name and last.size < _TEXT_FIELD:
            self._append(last, text)
            return 0
        line = self._unfinished.get(name)
        if self.made >= EXACT_EVENTS and line is not None and line.size < _TEXT_FIELD:
            end = text.find("\n") + 1 or len(text)
            self._append(line, text[:end])
            text = text[end:]
            if not text:
                return 0
        chunk = _Chunk(name)
        self._waiting.append(chunk)
        self._append(chunk, text)
        self.made += 1
        return 1

    def _append(self, chunk: _Chunk, text: str) -> None:
        chunk.add(text)
        if text.endswith("\n"):
            self._unfinished.pop(chunk.name, None)
        else:
            self._unfinished[chunk.name] = chunk

    def event(self, event: dict[str, Any]) -> None:
        """Add an event that is no text; text never moves across it."""
        self._unfinished.clear()
        if event["type"] == "clear_output":
            self._updates.clear()
        self._waiting.append(event)
        self.made += 1

    def display(self, event: dict[str, Any], size: int) -> None:
        """Add a display, or an update of one, of so many bytes."""
        self.event(event)
        name = display_id(event)
        if name is None:
            return
        if event["type"] == "update_display_data":
            self._updates[name] = (event, size)
        else:
            self._updates.pop(name, None)  # later updates change this display, not what an earlier one showed

    def replaceable(self, event: dict[str, Any]) -> int | None:
        """The size of the waiting update whose place this update can take; None if none waits."""
        name = display_id(event)
        if event["type"] != "update_display_data" or name not in self._updates:
            return None
        return self._updates[name][1]

    def replace(self, event: dict[str, Any], size: int) -> None:
        """Put an update in the place of the waiting update of the same display."""
        name = display_id(event)
        assert name is not None
        waiting, _ = self._updates[name]
        waiting["data"], waiting["metadata"] = event["data"], event["metadata"]
        self._updates[name] = (waiting, size)

    def mark_truncated(self, name: str, size: int, events: int) -> bool:
        """Add a marker for what was dropped, or count it to the marker before; returns whether an event was made."""
        last = self._waiting[-1] if self._waiting else None
        if isinstance(last, dict) and last["type"] == "truncated" and last["name"] == name:
            last["bytes"] += size
            last["events"] += events
            return False
        self.event(truncated(name, size, events))
        return True


def truncated(name: str, size: int, events: int = 0) -> dict[str, Any]:
    """The event that stands for what was dropped.

    Args:
        name: ``stdout``, ``stderr`` or ``display``.
        size: bytes dropped.
        events: displays dropped; 0 for text.
    """
    marker: dict[str, Any] = {"type": "truncated", "name": name, "bytes": size}
    return {**marker, "events": events} if events else marker


def display_id(event: dict[str, Any]) -> str | None:
    """The id by which later updates name a display."""
    transient = event.get("transient")
    return transient["display_id"] if transient else None
