"""Bars of tqdm as HTML."""

from __future__ import annotations

import re
from typing import Any

import pytest

from codeexec_magic.display.progress import MIME, progress_html
from codeexec_magic.display.sanitize import HtmlMode, Policy
from worker.sandbox.cell import tqdm_progress as guest

BAR: dict[str, Any] = {"left": "epochs:  40%", "right": "4/10", "share": 0.4, "state": "running", "colour": None}


def test_both_sides_name_it_alike() -> None:
    """What the sandbox sends is what is drawn here."""
    assert MIME == guest.MIME


def test_a_bar_is_drawn_to_scale_and_reads_as_text() -> None:
    """Texts left and right, width by share; without its styles one line of text is left."""
    drawn = progress_html(BAR)
    assert drawn is not None
    assert "width:40.0%" in drawn
    assert 'aria-valuenow="40"' in drawn
    text = re.sub(r"<[^>]*>", "", drawn).replace("\u2007", " ")
    assert text.split() == ["epochs:", "40%", "4/10"]


def test_an_unknown_total_is_no_share() -> None:
    """While it goes on a bar of unknown length is hatched; when it has ended it is full."""
    going = progress_html({**BAR, "share": None})
    ended = progress_html({**BAR, "share": None, "state": "done"})
    assert going is not None
    assert "repeating-linear-gradient" in going
    assert "aria-valuenow" not in going
    assert ended is not None
    assert "width:100.0%" in ended


@pytest.mark.parametrize(
    "data",
    [None, [], "x", {}, {**BAR, "state": "on fire"}, {**BAR, "state": ["running"]}, {**BAR, "state": {"a": 1}}],
)
def test_what_is_no_bar_is_not_drawn(data: Any) -> None:
    """Anything may be sent under this type."""
    assert progress_html(data) is None


@pytest.mark.parametrize("field", ["left", "right", "colour", "share"])
@pytest.mark.parametrize(
    "value", ['"><img src=x onerror=alert(1)>', "red;background:url(//evil)", 1e400, [1], {"a": 1}, -5, 7, True]
)
def test_fields_cannot_inject_markup(field: str, value: Any) -> None:
    """Whatever a field holds, the same elements and style properties come out."""

    def skeleton(drawn: str | None) -> tuple[list[str], list[str]]:
        assert drawn is not None
        return sorted(set(re.findall(r"<(\w+)", drawn))), re.findall(r"url|onerror(?!=alert\(1\)&gt;)|position", drawn)

    tags, bad = skeleton(progress_html({**BAR, field: value}))
    assert tags == ["div", "span"]
    assert bad == [] or field in ("left", "right")
    assert "<img" not in str(progress_html({**BAR, field: value}))


@pytest.mark.parametrize("mode", HtmlMode)
def test_every_policy_draws_it(mode: HtmlMode) -> None:
    """Sanitised, framed or trusted: the bar is ours, and its data does not reach the notebook."""
    kept = Policy(mode).bundle({MIME: BAR, "text/plain": "epochs:  40%|####      | 4/10"})
    assert sorted(kept) == ["text/html", "text/plain"]
    assert "<iframe" not in kept["text/html"]


def test_a_share_that_no_float_can_hold_is_none() -> None:
    """JSON has whole numbers of any length."""
    for share in (10**400, -(10**400), float("nan"), float("inf")):
        drawn = progress_html({**BAR, "share": share})
        assert drawn is not None
        assert "aria-valuenow" not in drawn
