"""Frames between worker and launcher, and JSON from hostile hands."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.sandbox.protocol import framing
from worker.sandbox.protocol.messages import BadMessage, OutputEvent

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.lists(st.dictionaries(st.text(), json_values).map(OutputEvent), max_size=4), st.integers(1, 64))
def test_frames_survive_any_split(events: list[OutputEvent], step: int) -> None:
    """However the bytes are cut, the same messages come out."""
    data = b"".join(framing.encode(event) for event in events)
    decoder, out = framing.Decoder(), []
    for start in range(0, len(data), step):
        out += decoder.feed(data[start : start + step])
    assert out == events


def test_frame_too_long() -> None:
    """A length beyond the limit is refused before anything is stored."""
    with pytest.raises(BadMessage, match="frame of"):
        framing.Decoder().feed(b"\xff\xff\xff\xff")


def test_frame_must_hold_a_message() -> None:
    """Other JSON is refused."""
    with pytest.raises(BadMessage, match="no message"):
        framing.Decoder().feed(b"\0\0\0\2[]")


@given(json_values)
def test_depth_agrees_with_the_value(value: object) -> None:
    """The scan finds the true nesting, whatever strings hold."""

    def nesting(item: object) -> int:
        if isinstance(item, dict):
            return 1 + max(map(nesting, item.values()), default=0)
        if isinstance(item, list):
            return 1 + max(map(nesting, item), default=0)
        return 0

    assert framing.depth(json.dumps(value).encode()) == nesting(value)


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"[" * 65 + b"]" * 65,
        b"NaN",
        b"[-Infinity]",
        b"1e999",
        b'{"a": [-1e400]}',
        b"9" * 100_000,
        b"\xff",
        b"",
        b'{"a":1',
    ],
)
def test_bad_json_is_refused(data: bytes) -> None:
    """Too deep, not JSON or no JSON number: one named error, no recursion."""
    with pytest.raises(framing.BadJson):
        framing.loads(data)


def test_lone_surrogates_become_encodable() -> None:
    """What json.loads lets through must not kill whoever encodes it later."""
    value = framing.loads(rb'{"\ud800": ["a\udfff", "\ud83d\ude00"]}')
    json.dumps(value, ensure_ascii=False).encode()
    assert value == {"\ufffd": ["a\ufffd", "😀"]}


@given(st.binary(max_size=300))
def test_any_bytes_decode_or_are_refused(data: bytes) -> None:
    """Nothing but BadJson ever comes out of hostile bytes."""
    with contextlib.suppress(framing.BadJson):
        json.dumps(framing.loads(data), ensure_ascii=False).encode()
