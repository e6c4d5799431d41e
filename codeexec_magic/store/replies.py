"""What the store's scripts and streams answer, as types."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from codeexec_magic.contract import ExecutionRequest, ExecutionResult, decode_event
from codeexec_magic.errors import DecodeError

Event = dict[str, Any]


@dataclass(frozen=True)
class Submission:
    """What became of a submission."""

    outcome: str  #: queued, follow (an identical cell is on its way), hit (cached), full or known (already there)
    depth: int = 0  #: jobs in line, this one included
    listeners: int = 0  #: workers on the queue
    leader: str | None = None  #: the job whose run answers
    result: ExecutionResult | None = None  #: of a hit
    events: tuple[Event, ...] = ()  #: of a hit

    def events_before_end(self) -> list[Event]:
        """What a hit replays."""
        return [event for event in self.events if event["type"] not in ("end", "handover")]


@dataclass(frozen=True)
class Begun:
    """An attempt that may run. Times are server milliseconds."""

    request: ExecutionRequest
    run: int  #: 1 for the first
    failures: int
    crashes: int
    waited_ms: int
    started_at_ms: int
    attempts: tuple[Mapping[str, Any], ...] = field(default=())
    submitted_at_ms: int = 0


@dataclass(frozen=True)
class Sweep:
    """What the reconciler's pass found."""

    due: int  #: retries sent
    lost: int  #: jobs sent again whose message was lost
    now_ms: int  #: by the server's clock
    expired: tuple[str, ...]  #: jobs whose lease has run out


def read_events(answer: Any) -> list[Event]:
    """The events of an XREAD reply, in either protocol."""
    streams = answer.values() if isinstance(answer, dict) else [entries for _, entries in answer]
    # RESP3 wraps the entries of a stream once more
    unwrapped = (entries[0] if entries and isinstance(entries[0], list) else entries for entries in streams)
    return [event for entries in unwrapped for event in events_of(entries)]


def events_of(entries: Any) -> Iterator[Event]:
    """The events of stream entries.

    Raises:
        DecodeError: an entry is no event.
    """
    for entry_id, fields in entries:
        yield load_event((fields if isinstance(fields, dict) else pairs(fields)).get("e", ""), entry_id)


def load_event(text: str, entry_id: str) -> dict[str, Any]:
    """Decode one entry of an event stream and note where it stands.

    Raises:
        DecodeError: not an event.
    """
    try:
        event = json.loads(text)
    except (ValueError, RecursionError):
        raise DecodeError(f"event {entry_id} is not JSON") from None
    return {**decode_event(event), "id": entry_id}


def pairs(flat: Any) -> dict[str, str]:
    """A hash that a script returned as field, value, field, value."""
    return dict(zip(flat[::2], flat[1::2], strict=True))
