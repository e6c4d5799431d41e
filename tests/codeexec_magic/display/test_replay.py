"""What a waiting cell shows of a job's events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from codeexec_magic.display.replay import Replay
from codeexec_magic.display.sanitize import Policy
from codeexec_magic.display.transcript import EXACT_SWITCHES


class Recorder:
    """Stands for the cell: notes what is sent to the front end, and keeps what it would show."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def publish(self, data: Mapping[str, Any], *_: object, **__: object) -> None:
        """A display."""
        self.sent.append(str(data.get("text/plain")))

    def clear_output(self, *, wait: bool) -> None:
        """Clear."""
        self.sent.append(f"clear wait={wait}")


def shown(*events: Mapping[str, Any]) -> list[str]:
    """What is sent for these events, and for the card that is written at the end."""
    cell = Recorder()
    replay = Replay(cell, Policy(), "job", cleared=lambda: cell.sent.append("card"))  # type: ignore[arg-type]
    for event in events:
        replay.feed(event)
    replay.flush()
    return cell.sent


def display(text: str) -> dict[str, Any]:
    """A display event."""
    return {"type": "display_data", "data": {"text/plain": text}}


CLEAR_WAIT = {"type": "clear_output", "wait": True}


def test_clearing_at_the_end_keeps_what_is_shown() -> None:
    """``clear_output(wait=True)`` waits for the cell's next output, which our card is not."""
    assert shown(display("kept"), CLEAR_WAIT) == ["kept"]


def test_clearing_before_the_next_output_puts_the_card_back() -> None:
    """The output that follows takes the place of the earlier one, below the card."""
    assert shown(display("a"), CLEAR_WAIT, CLEAR_WAIT, display("b")) == ["a", "clear wait=True", "card", "b"]


def test_clearing_at_once() -> None:
    """Without ``wait`` it happens now, and an earlier one that waits is over."""
    assert shown(display("a"), CLEAR_WAIT, {"type": "clear_output", "wait": False}, display("b")) == [
        "a",
        "clear wait=False",
        "card",
        "b",
    ]


@pytest.mark.parametrize("again", [[], [display("b")]])
def test_a_second_run_begins_with_an_empty_cell(again: list[dict[str, Any]]) -> None:
    """What the run that failed had written goes, whether the next one writes or not."""
    running = {"type": "status", "status": "running"}
    sent = shown(running, display("a"), running, *again)
    assert sent[:3] == ["a", "clear wait=False", "card"]


def test_streams_that_alternate_cost_few_messages(capsys: pytest.CaptureFixture[str]) -> None:
    """Their order is exact at first; then what arrives together is put together, and no text is lost."""
    cell = Recorder()
    replay = Replay(cell, Policy(), "job")  # type: ignore[arg-type]
    writes: list[str] = []
    for number in range(10_000):
        replay.feed({"type": "stream", "name": "stdout" if number % 2 else "stderr", "text": f"{number} "})
        if number == 10:
            writes.append(capsys.readouterr().out)
    replay.flush()
    assert writes == ["1 3 5 7 9 "]
    shown = capsys.readouterr()
    assert shown.out.split() == [str(number) for number in range(11, 10_000, 2)]
    assert shown.err.split() == [str(number) for number in range(10, 10_000, 2)]


def test_a_bounded_number_of_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often the streams alternate, one batch of events is written in about a thousand pieces."""

    class Counted:
        writes = 0

        def write(self, text: str) -> None:
            Counted.writes += 1

        def flush(self) -> None:
            pass

    monkeypatch.setattr("sys.stdout", Counted())
    monkeypatch.setattr("sys.stderr", Counted())
    events = [{"type": "stream", "name": name, "text": "x"} for name in ("stdout", "stderr")]
    shown(*(events * 50_000))
    assert Counted.writes <= EXACT_SWITCHES + 2
