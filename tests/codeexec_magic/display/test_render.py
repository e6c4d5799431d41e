"""The card: every status in words, the same picture for the same state, nothing from outside unescaped."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser

import pytest

from codeexec_magic.contract import Reason, Status
from codeexec_magic.display import render, tables, theme
from codeexec_magic.store import JobState

ID = "46f61b34-0000-4000-8000-000000000000"
DONE = JobState(
    ID, Status.SUCCEEDED, "code_execution", worker="worker-1", attempt=1, waited_s=0.04, ran_s=1.23, listeners=1
)


class Reader(HTMLParser):
    """Reads the text outside style sheets, and the elements, of an HTML fragment."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.tags, self._muted = "", set[str](), False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element; one with an event handler or an address is named with it too."""
        self._muted = tag == "style"
        self.tags.add(tag)
        self.tags.update(f"{tag} {name}" for name, _ in attrs if name.startswith("on") or name in ("src", "href"))

    def handle_endtag(self, tag: str) -> None:
        """The end of an element."""
        self._muted = False

    def handle_data(self, data: str) -> None:
        """Text."""
        self.text += "" if self._muted else data


def visible(html: str) -> str:
    """The text of an HTML fragment, without style sheets."""
    return Reader(html).text


def tags(html: str) -> set[str]:
    """The elements an HTML fragment is made of."""
    return Reader(html).tags


def test_text_card_of_a_success() -> None:
    """The text says what the card says."""
    assert render.card_text(DONE) == "✓ Succeeded  46f61b34  code_execution · worker-1  waited 0.0 s · ran 1.2 s"


def test_text_card_of_a_cached_result() -> None:
    """A cached result names its age and the task it came from, and no worker's times."""
    state = replace(DONE, cached=True, cached_age_s=250.0, cached_from="ab12cd34-5678", worker=None, ran_s=1.0)
    assert render.card_text(state) == "⚡ Cached, 4 min old, from task ab12cd34  46f61b34  code_execution"


def test_a_job_that_followed_another_says_so() -> None:
    """Of two identical jobs the second names the first, on the card, in the text and in a list."""
    state = replace(DONE, follows="efd2bb11-5678")
    words = "shares the run of efd2bb11"
    assert words in visible(render.card_html(state))
    assert words in render.card_text(state)
    assert words in render.status_line(state)
    assert words in visible(tables.jobs_html([state]))
    assert words in tables.jobs_text([state])
    assert "shares" not in render.card_text(DONE) + tables.jobs_text([DONE]) + visible(tables.jobs_html([DONE]))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"status": Status.QUEUED, "position": 3}, "Queued · 3rd in line"),
        ({"status": Status.QUEUED, "listeners": 0}, "Queued · no worker listens on code_execution"),
        ({"status": Status.RUNNING}, "Running"),
        ({"status": Status.RUNNING, "attempt": 2}, "Running, 2nd run"),
        ({"status": Status.RUNNING, "cancelling": True}, "Cancelling"),
        (
            {"status": Status.RETRYING, "failures": 2, "retries": 3, "next_try_in_s": 12.4},
            "Retrying 2 of 3 in 12 s",
        ),
        ({"status": Status.FAILED, "reason": Reason.ERROR}, "Failed"),
        ({"status": Status.FAILED, "reason": Reason.DISK}, "Failed: disk limit"),
        (
            {"status": Status.DEAD_LETTERED, "reason": Reason.MEMORY, "attempt": 4},
            "Dead-lettered after 4 runs: memory limit",
        ),
        ({"status": Status.CANCELLED}, "Cancelled"),
    ],
)
def test_headline(changes: dict[str, object], words: str) -> None:
    """Each state has words of its own, on the card and in the text."""
    state = replace(DONE, **changes)
    assert render.headline(state) == words
    assert words in visible(render.card_html(state))
    assert words in render.card_text(state)


def test_no_worker_says_what_to_do() -> None:
    """A queue that nobody serves is named, with the command that changes it."""
    (line,) = render.advice(replace(DONE, status=Status.QUEUED, listeners=0))
    assert line.startswith("0 workers listen on code_execution")
    assert "celery -A worker.app worker -Q code_execution" in line
    (line,) = render.advice(replace(DONE, status=Status.QUEUED, listeners=0), embedded=True)
    assert "%remote_cluster restart" in line


def test_every_status_and_reason_has_words() -> None:
    """No status and no reason is missing from the tables."""
    assert set(theme.WORDS) == set(Status)
    assert set(render.REASONS) == set(Reason)
    assert len({glyph for glyph, _ in theme.WORDS.values()}) == len(Status)


def test_same_state_same_picture() -> None:
    """A static card depends on nothing but the state."""
    assert render.card_html(DONE) == render.card_html(replace(DONE))


def test_card_reads_without_its_style_sheet() -> None:
    """A viewer that drops styles still shows separate words, and the whole id."""
    text = visible(render.card_html(DONE, notes=["a note"]))
    assert text == f"✓ Succeeded · {ID} · code_execution · worker-1 · waited 0.0 s · ran 1.2 sa note"


def test_id_copies_whole() -> None:
    """The whole id is in the element that a click selects."""
    assert f">{ID}</code>" in render.card_html(DONE)


@pytest.mark.parametrize("field", ["worker", "queue", "verdict", "id", "cached_from", "follows"])
def test_fields_cannot_inject_markup(field: str) -> None:
    """Whatever a worker says of itself stays text."""
    hostile = "\"><img src=x onerror=alert(1)><script>alert(2)</script>'\x1b]8;;javascript:x\x07\u202e"
    state = replace(DONE, **{field: hostile}, cached=field == "cached_from", status=Status.FAILED, reason=Reason.MEMORY)
    for html in (render.card_html(state, notes=render.advice(state)), render.card_html(state, live=True)):
        assert "<img" not in html
        assert "<script" not in html
        assert tags(html) <= {"div", "style", "span", "b", "code", "i"}
        assert "\u202e" not in html
        assert "\x1b" not in html
    assert "\x1b" not in render.card_text(state, notes=render.advice(state))
    assert "\n" not in render.status_line(state)


def test_long_fields_are_shortened() -> None:
    """A worker's name of a megabyte does not become a card of one."""
    assert len(render.card_html(replace(DONE, worker="w" * 1_000_000))) < 10_000


def test_trust_is_said_on_the_card() -> None:
    """Unsanitised output is marked."""
    assert "trusted: HTML not sanitised" in visible(render.card_html(DONE, trusted=True))
    assert "trusted" in render.card_text(DONE, trusted=True)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (-1, "0.0 s"), (59.9, "59.9 s"), (59.96, "1 min 00 s"), (245, "4 min 05 s"), (7860, "2 h 11 min")],
)
def test_seconds(seconds: float, text: str) -> None:
    """Spans read naturally and never as 60.0 s."""
    assert theme.seconds(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"), [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (22, "22nd")]
)
def test_ordinal(number: int, text: str) -> None:
    """English ordinals, teens included."""
    assert theme.ordinal(number) == text


def test_bar_is_to_scale() -> None:
    """Half waiting, half running."""
    assert "width:50.0%" in render.card_html(replace(DONE, waited_s=2.0, ran_s=2.0))


def test_a_dropped_letter_offers_nothing() -> None:
    """Once its dead letter was dropped, a card says so and does not name commands that cannot work."""
    state = replace(DONE, status=Status.DEAD_LETTERED, reason=Reason.MEMORY, attempt=4)
    assert any("%remote_dlq" in line for line in render.advice(state))
    dropped = replace(state, dropped=True)
    assert render.headline(dropped) == "Dropped after 4 runs: memory limit"
    assert render.advice(dropped) == []
