"""What a cell sends, capped and checked; fuzzed."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeexec_magic.contract import OUTPUT_EVENTS, decode_event, stream_text
from worker.sandbox.launcher.event_buffer import MOST_EVENTS
from worker.sandbox.launcher.output import Collector
from worker.sandbox.protocol import framing, messages, packets
from worker.sandbox.protocol.messages import EndReport

CAP = 4096


def display(size: int) -> dict[str, object]:
    """A display of about that many bytes."""
    return {"type": "display_data", "data": {"text/plain": "x" * size}, "metadata": {}}


def send(collector: Collector, message: dict[str, object]) -> None:
    """Send a message the way the cell does."""
    for packet in packets.message(json.dumps(message).encode()):
        collector.packet(packet)


def end(collector: Collector, report: EndReport) -> None:
    """Send a report the way the cell does."""
    for packet in packets.message(messages.encode(report)):
        collector.packet(packet)


def test_text_is_put_together_and_decoded_across_packets() -> None:
    """A character cut by a packet border is not damaged."""
    collector = Collector(CAP, "t")
    data = "aé".encode()
    collector.packet(packets.STDOUT + data[:2])
    collector.packet(packets.STDOUT + data[2:])
    assert collector.take() == [{"type": "stream", "name": "stdout", "text": "aé"}]


def test_head_and_tail() -> None:
    """Of too long a stream the ends are kept and the gap is counted."""
    collector = Collector(CAP, "t")
    text = "".join(f"{i}\n" for i in range(10_000))
    for piece in packets.pieces(text.encode()):
        collector.packet(packets.STDOUT + piece)
    collector.finish()
    events = collector.take()
    kept = stream_text(events, "stdout")
    dropped = collector.truncated()["stdout"]
    assert len(kept) == CAP
    assert len(kept) + dropped == len(text)
    assert text.startswith(kept[:3072])
    assert text.endswith(kept[3072:])
    assert [event["type"] for event in events] == ["stream", "truncated", "stream"]


def test_flood_is_noticed() -> None:
    """Ten times the cap names the stream."""
    collector = Collector(CAP, "t")
    collector.raw("stderr", b"x" * CAP * 10)
    assert collector.flooded is None
    collector.raw("stderr", b"x")
    assert collector.flooded == "stderr"


def test_empty_events_are_bounded() -> None:
    """Events without content cost something, too."""
    collector = Collector(CAP, "t")
    for _ in range(10_000):
        send(collector, {"type": "clear_output", "wait": False})
        if collector.flooded:
            break
    assert collector.flooded == "display"
    assert len(collector.take()) < 200


def test_display_beyond_the_cap_is_dropped_and_counted() -> None:
    """A display that is too large leaves a marker in its place; smaller ones after it still come."""
    collector = Collector(CAP, "t")
    send(collector, display(2 * CAP))
    send(collector, display(10))
    assert [event["type"] for event in collector.take()] == ["truncated", "display_data"]
    assert collector.truncated()["display"] > 2 * CAP


def test_what_is_too_large_is_not_even_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The launcher's one thread is everybody's: a message that would be dropped anyway costs no decoding."""
    read: list[int] = []
    loads = framing.loads
    monkeypatch.setattr(framing, "loads", lambda data: read.append(len(data)) or loads(data))  # type: ignore[func-returns-value]
    collector = Collector(CAP, "t")
    send(collector, {"type": "display_data", "data": {"application/json": [[]] * CAP}, "metadata": {}})
    end(collector, EndReport("guess", "ok", left=[["x" * CAP, 1]]))
    assert read == []
    report = EndReport("t", "ok", left=[["x" * CAP, 1]])
    for _ in range(5):
        end(collector, report)
    assert collector.end == report
    assert len(read) == 1  # several can only be forged
    assert collector.truncated()["display"] > 5 * CAP


def test_parts_of_many_messages_cannot_fill_memory() -> None:
    """Messages that are begun and never ended are given up."""
    collector = Collector(CAP, "t")
    for i in range(5000):
        collector.packet(packets.PART + i.to_bytes(8, "big") + b"\0" + b"x" * 4000)
    assert collector._part_bytes <= 2 * CAP + (1 << 20)
    assert len(collector._parts) <= 64


def test_messages_that_were_never_ended_do_not_crowd_out_the_end() -> None:
    """However many parts wait for their rest, the end report has room of its own."""
    report = EndReport("t", "error", 1, {"traceback": ["x" * 99_999]})
    for size in (4000, 1):
        collector = Collector(CAP, "t")
        for i in range(500):
            collector.packet(packets.PART + i.to_bytes(8, "big") + b"\0" + b"x" * size)
        end(collector, report)
        assert collector.end == report


def test_an_end_report_that_is_too_large_is_told() -> None:
    """It is not kept, and it is named: a cell whose report is lost has not left before its end."""
    collector = Collector(CAP, "t")
    end(collector, EndReport("t", "error", 1, {"traceback": ["x" * messages.LARGEST_END]}))
    assert collector.end is None
    assert collector.flooded == "end"
    assert collector.bytes_of("end") > messages.LARGEST_END
    assert len(collector._end_parts) == 0


def test_end_needs_the_token() -> None:
    """A report without the right signature is junk."""
    collector = Collector(CAP, "secret")
    end(collector, EndReport("guess", "ok"))
    assert collector.end is None
    assert collector.truncated()["junk"] > 0


def test_the_worst_end_counts() -> None:
    """A forged success does not hide the real failure, whichever comes first."""
    for order in (("ok", "error"), ("error", "ok")):
        collector = Collector(CAP, "t")
        for status in order:
            end(collector, EndReport("t", status))
        assert collector.end is not None
        assert collector.end.status == "error"


@pytest.mark.parametrize(
    "forged",
    [
        ["EndReport", "t"],
        ["EndReport", "t", "ok", "0", None, None],
        ["EndReport", "t", "ok", True, None, None],
        ["EndReport", "t", "ok", 0, [], None],
        ["EndReport", "t", "ok", 0, None, None, 1],
        ["Evidence", None],
        ["Kill"],
        [["EndReport"], "t"],
        [],
    ],
)
def test_only_a_whole_report_ends_a_cell(forged: list[object]) -> None:
    """Wrong types, missing fields and other messages of ours are junk, also with the right token."""
    collector = Collector(CAP, "t")
    collector.packet(packets.MESSAGE + json.dumps(forged, separators=(",", ":")).encode())
    assert collector.end is None
    assert collector.truncated()["junk"] > 0


@pytest.mark.parametrize(
    "message",
    [
        {"type": "display_data", "data": []},
        {"type": "display_data", "data": {"no mime": 1}},
        {"type": "display_data", "data": {"text/plain": 5}},
        {"type": "display_data", "data": {"text/plain": "x", "text/html": ["a"]}},
        {"type": "execute_result"},
        {"type": "stream", "name": "stdout", "text": "forged"},
        {"type": "truncated", "name": "stdout", "bytes": 1},
        {"type": "status"},
        {"type": 1},
        {},
        [],
        "text",
    ],
)
def test_what_is_no_event_is_junk(message: object) -> None:
    """Only known events of the right shape are passed on."""
    collector = Collector(CAP, "t")
    collector.packet(packets.MESSAGE + json.dumps(message).encode())
    assert collector.take() == []
    assert collector.truncated() == {"junk": len(json.dumps(message))}


def test_unknown_fields_do_not_pass() -> None:
    """An event carries its known fields and nothing else."""
    collector = Collector(CAP, "t")
    send(collector, {**display(1), "evil": 1, "transient": {"display_id": "a", "evil": 2}})
    assert set(collector.take()[0]) == {"type", "data", "metadata", "transient"}


@given(st.lists(st.binary(max_size=200), max_size=30))
def test_any_packets_give_valid_events(chunks: list[bytes]) -> None:
    """Whatever arrives, only events of the contract come out, and they encode."""
    collector = Collector(CAP, "t")
    for chunk in chunks:
        collector.packet(chunk)
    collector.finish()
    for event in collector.take():
        assert decode_event(event)["type"] in OUTPUT_EVENTS
        json.dumps(event, ensure_ascii=False).encode()


SEEDS = [
    b"ohello",
    b"e\xff\xfe",
    b'j{"type":"display_data","data":{"text/plain":"a","application/json":{"a":[1,{"b":null}]}},"metadata":{}}',
    b'j["EndReport","t","ok",0,null,{}]',
    b'j{"type":"clear_output","wait":true}',
    b"p12345678\1{}",
    b"p12345678\0{",
    b"j" + b"[" * 60 + b"]" * 60,
    b'j"\\ud800"',
]


def mutate(source: random.Random, data: bytes) -> bytes:
    """Change a packet a little."""
    out = bytearray(data)
    for _ in range(source.randint(1, 4)):
        place = source.randrange(len(out) + 1)
        kind = source.randrange(4)
        if kind == 0 and out:
            out[place % len(out)] = source.randrange(256)
        elif kind == 1:
            out[place:place] = source.randbytes(source.randint(1, 8))
        elif kind == 2:
            del out[place : place + source.randint(1, 8)]
        else:
            out[place:place] = source.choice(SEEDS)[: source.randint(1, 40)]
    return bytes(out[: packets.PACKET])


def test_a_hundred_thousand_mutated_packets() -> None:
    """Fuzzing never gets anything but valid events out of the collector, and never an exception."""
    source = random.Random(20261123)
    collector = Collector(CAP, "t")
    for i in range(100_000):
        collector.packet(mutate(source, source.choice(SEEDS)))
        if i % 1000 == 999:
            collector.finish()
            for event in collector.take():
                assert event["type"] in OUTPUT_EVENTS
                json.dumps(event, ensure_ascii=False).encode()
            collector = Collector(CAP, "t")


@settings(max_examples=200)
@given(st.text(max_size=3000), st.integers(0, 3))
def test_pieces_never_cut_a_character(text: str, scale: int) -> None:
    """Every piece fits a packet and decodes by itself; together they are the text."""
    data = (text * 10**scale)[:20_000].encode("utf-8", "replace")
    pieces = list(packets.pieces(data))
    assert b"".join(pieces) == data
    for piece in pieces:
        assert len(piece) < packets.PACKET
        piece.decode()


def alternate(collector: Collector, times: int, texts: tuple[bytes, bytes] = (b"x", b"y")) -> list[dict[str, Any]]:
    """Write to both streams in turns, and take what there is now and then."""
    events = []
    for i in range(times):
        collector.packet(packets.STDOUT + texts[0])
        collector.packet(packets.STDERR + texts[1])
        if i % 100 == 0:
            events += collector.take()
    collector.finish()
    return events + collector.take()


def test_streams_that_alternate_come_to_no_more_than_the_cap() -> None:
    """An event costs more than its text: what it costs is counted, and head and tail of both streams are kept."""
    collector = Collector(1 << 16, "t")
    collector.packet(packets.STDOUT + b"HEAD")
    events = alternate(collector, 30_000)
    assert len(json.dumps(events)) < 4 << 16
    kept = stream_text(events, "stdout")
    assert kept.startswith("HEADxxx")
    assert kept.endswith("xxx")
    assert kept.count("x") + collector.truncated().get("stdout", 0) == 30_000


def test_the_number_of_events_is_bounded() -> None:
    """However large the cap is."""
    collector = Collector(1 << 26, "t")
    events = []
    for _ in range(3 * MOST_EVENTS):
        send(collector, display(1))
        events += collector.take()
    collector.finish()
    events += collector.take()
    assert MOST_EVENTS <= len(events) <= MOST_EVENTS + 110
    assert events[MOST_EVENTS]["type"] == "truncated"
    assert events[MOST_EVENTS]["events"] == 3 * MOST_EVENTS - (len(events) - 1)


def test_lines_keep_their_order_when_streams_alternate() -> None:
    """After the first thousand events text is put together, but a line is never torn or moved before an earlier one."""
    collector = Collector(1 << 20, "t")
    events = alternate(collector, 4000, (b"out\n", b"err\n"))
    text = "".join(event["text"] for event in events)
    assert text == "out\nerr\n" * 4000
    parts = Collector(1 << 20, "t")
    for _ in range(2000):
        for packet in (packets.STDOUT + b"1", packets.STDERR + b"2", packets.STDOUT + b"3\n", packets.STDERR + b"4\n"):
            parts.packet(packet)
    parts.finish()
    lines = "".join(event["text"] for event in parts.take()[1100:]).splitlines()
    assert set(lines) <= {"13", "24", "1", "2", "3", "4"}
    assert lines.count("13") > 1000


def test_displays_keep_their_head_and_their_tail() -> None:
    """The last picture of a cell that shows many is there, and the gap tells how many are not."""
    collector = Collector(CAP, "t")
    for number in range(100):
        send(collector, {"type": "display_data", "data": {"text/plain": f"{number:0200}"}, "metadata": {}})
    collector.finish()
    events = collector.take()
    shown = [int(event["data"]["text/plain"]) for event in events if event["type"] == "display_data"]
    assert shown[0] == 0
    assert shown[-1] == 99
    assert [event["events"] for event in events if event["type"] == "truncated"] == [100 - len(shown)]


def test_clearing_beyond_the_cap_leaves_the_last_display() -> None:
    """A plot that is redrawn for ever by clear_output shows its last state."""
    collector = Collector(CAP, "t")
    for number in range(200):
        send(collector, {"type": "clear_output", "wait": True})
        send(collector, {"type": "display_data", "data": {"text/plain": f"{number:050}"}, "metadata": {}})
        if collector.flooded:
            break
    collector.finish()
    events = collector.take()
    last_clear = max(i for i, event in enumerate(events) if event["type"] == "clear_output")
    assert int(events[-1]["data"]["text/plain"]) == number
    assert last_clear < len(events) - 1


def test_updates_of_a_display_take_the_place_of_those_that_wait() -> None:
    """A bar that is updated ten thousand times between two looks is one event."""
    collector = Collector(CAP, "t")
    place = {"transient": {"display_id": "bar"}}
    send(collector, {**display(1), **place})
    collector.take()
    for number in range(100):
        send(collector, {"type": "update_display_data", "data": {"text/plain": str(number)}, "metadata": {}, **place})
    events = collector.take()
    assert [event["data"] for event in events] == [{"text/plain": "99"}]
