"""Events reduced to outputs, and replayed as outputs: in order, once, and only the last attempt's."""

from __future__ import annotations

from typing import Any

import pytest
from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.interactiveshell import InteractiveShell

from codeexec_magic.display.parent_cell import ParentCell
from codeexec_magic.display.replay import Replay
from codeexec_magic.display.sanitize import Policy
from codeexec_magic.display.transcript import Transcript


def stream(text: str, name: str = "stdout") -> dict[str, Any]:
    """A stream event."""
    return {"type": "stream", "name": name, "text": text}


def shown(text: str, display_id: str | None = None, kind: str = "display_data") -> dict[str, Any]:
    """A display event."""
    transient = {"display_id": display_id} if display_id else {}
    return {"type": kind, "data": {"text/plain": text}, "metadata": {}, "transient": transient}


def running(attempt: int) -> dict[str, Any]:
    """An attempt starts."""
    return {"type": "status", "status": "running", "attempt": attempt}


def brief(outputs: list[dict[str, Any]]) -> list[str]:
    """Outputs as short words."""
    return [one.get("text") or one["data"]["text/plain"] for one in outputs]


def told(*events: dict[str, Any], **options: Any) -> Transcript:
    """A transcript of these events."""
    transcript = Transcript(Policy(), **options)
    for event in events:
        transcript.feed(event)
    return transcript


def test_streams_merge_and_keep_their_order() -> None:
    """Text of one stream becomes one output until another comes between."""
    outputs = told(stream("a"), stream("b"), stream("c", "stderr"), stream("d"), shown("e")).outputs
    assert brief(outputs) == ["ab", "c", "d", "e"]


def test_updates_change_the_display_they_name() -> None:
    """An update changes its own display and adds nothing."""
    outputs = told(shown("a", "x"), shown("b", "y"), shown("A", "x", "update_display_data")).outputs
    assert brief(outputs) == ["A", "b"]
    assert brief(told(shown("a"), shown("A", "x", "update_display_data")).outputs) == ["a"]


def test_clear_output_now_and_with_the_next() -> None:
    """``wait`` keeps the old output until new comes."""
    clear = {"type": "clear_output", "wait": False}
    wait = {"type": "clear_output", "wait": True}
    assert brief(told(stream("a"), clear).outputs) == []
    assert brief(told(stream("a"), wait).outputs) == ["a"]
    assert brief(told(stream("a"), wait, stream("b")).outputs) == ["b"]


def test_only_the_last_attempt_counts() -> None:
    """What a failed attempt wrote is not part of the outcome."""
    assert brief(told(running(1), stream("a"), running(2), stream("b")).outputs) == ["b"]


def test_truncation_is_said() -> None:
    """Output that was not kept leaves a line."""
    transcript = told(stream("a"), {"type": "truncated", "name": "stdout", "bytes": 2_000_000})
    assert "1,953 KB of stdout beyond the output limit not kept" in transcript.outputs[0]["text"]


def test_live_view_is_bounded_but_the_record_is_not() -> None:
    """Redrawing costs the same after a megabyte."""
    transcript = told(stream("x" * 1000), shown("plot"), stream("y" * 1000), tail=100)
    latest = transcript.latest()
    assert [one["output_type"] for one in latest] == ["display_data", "stream"]
    assert latest[-1]["text"].endswith("y" * 100)
    assert len(latest[-1]["text"]) < 200
    assert len(transcript.outputs[0]["text"]) == 1000


def test_version_tells_whether_anything_changed() -> None:
    """A status without consequences causes no redraw."""
    transcript = told(running(1))
    before = transcript.version
    transcript.feed({"type": "status", "status": "running_still"})
    assert transcript.version == before
    transcript.feed(stream("a"))
    assert transcript.version > before


class Screen:
    """A replay into a shell whose displays are captured."""

    def __init__(self, **options: Any) -> None:
        self.shell = InteractiveShell()
        self.pub = CapturingDisplayPublisher()
        self.shell.display_pub = self.pub
        self.put_back = 0
        self.replay = Replay(ParentCell(self.shell), Policy(), "job", cleared=self._cleared, **options)

    def _cleared(self) -> None:
        """The output was cleared."""
        self.put_back += 1

    def feed(self, *events: dict[str, Any]) -> Screen:
        """Replay events and write what was held back."""
        for event in events:
            self.replay.feed(event)
        self.replay.flush()
        return self


def test_replay_writes_streams_in_order(capfd: pytest.CaptureFixture[str]) -> None:
    """Standard output and error go to their own streams, ANSI colours and carriage returns untouched."""
    Screen().feed(stream("10%\r"), stream("20%\r"), stream("\x1b[31mwarn\x1b[0m", "stderr"), stream("done\n"))
    out, err = capfd.readouterr()
    assert out == "10%\r20%\rdone\n"
    assert err == "\x1b[31mwarn\x1b[0m"


def test_replay_prefixes_display_ids() -> None:
    """A cell can update its own displays and none of this notebook's."""
    screen = Screen().feed(shown("a", "mine"), shown("b", "mine", "update_display_data"), shown("c"))
    assert [one["transient"] for one in screen.pub.outputs] == [
        {"display_id": "job:mine"},
        {"display_id": "job:mine"},
        {},
    ]
    assert [one["update"] for one in screen.pub.outputs] == [False, True, False]


def test_replay_puts_the_card_back_after_clearing() -> None:
    """A cell that clears its output must not take our card along."""
    screen = Screen().feed(stream("a"), {"type": "clear_output", "wait": False})
    assert screen.put_back == 1
    screen.feed({"type": "clear_output", "wait": True})
    assert screen.put_back == 1
    screen.feed(stream("b"))
    assert screen.put_back == 2


def test_replay_for_terminals_strips_escapes(capfd: pytest.CaptureFixture[str]) -> None:
    """A remote cell cannot set this terminal's title."""
    screen = Screen(terminal=True).feed(stream("\x1b]0;owned\x07\x1b[32mok\x1b[0m\n"), shown("\x1b[2Jx"))
    assert capfd.readouterr().out == "\x1b[32mok\x1b[0m\n"
    assert screen.pub.outputs[0]["data"] == {"text/plain": "x"}


def test_replay_of_a_second_attempt_starts_over() -> None:
    """Output of the attempt that failed is cleared when the next one begins."""
    screen = Screen().feed(running(1), stream("a"), running(2))
    assert screen.put_back == 1
    screen.feed(stream("b"))
    assert screen.put_back == 1
