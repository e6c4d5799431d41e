"""The pieces of a panel, without a front end."""

from __future__ import annotations

from typing import Any

import pytest
from support import wait_until

from codeexec_magic.contract import QUEUE_DEFAULT
from codeexec_magic.panel import controls
from codeexec_magic.panel.controls import Item, Question, Rows
from codeexec_magic.panel.submit_form import SubmitForm


def buttons(box: Any) -> dict[str, Any]:
    """The visible buttons of a row by label."""
    return {one.description: one for one in box.children[1].children if one.layout.display != "none"}


def test_a_row_stays_with_what_it_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows move, and keep their widget and their id; what did not change is not sent again."""
    monkeypatch.setattr(controls, "_SETTLE_S", 0.0)
    pressed: list[str] = []
    listed = Rows({"Drop": pressed.append}, width="80px")
    listed.update([Item("a", "A", ("Drop",)), Item("b", "B", ("Drop",))])
    first, second = listed.box.children
    listed.update([Item("c", "C", ()), Item("b", "B", ("Drop",)), Item("a", "A2", ("Drop",))])
    new, *others = listed.box.children
    assert others == [second, first]
    assert buttons(new) == {}
    buttons(first)["Drop"].click()
    buttons(second)["Drop"].click()
    assert pressed == ["a", "b"]


def test_a_click_never_meets_another_row_than_was_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that has just been given to another job ignores clicks."""
    pressed: list[str] = []
    listed = Rows({"Drop": pressed.append}, width="80px")
    listed.update([Item("a", "A", ("Drop",))])
    monkeypatch.setattr(controls, "_SETTLE_S", 60.0)
    listed.update([Item("b", "B", ("Drop",))])
    buttons(listed.box.children[0])["Drop"].click()
    assert pressed == []
    monkeypatch.setattr(controls, "_SETTLE_S", 0.0)
    buttons(listed.box.children[0])["Drop"].click()
    assert pressed == ["b"]


def test_a_question_comes_before_the_deed() -> None:
    """Yes does it, No does not, and nothing is asked when there is nothing to do."""
    done: list[str] = []
    question: list[str | None] = ["Forget 2?"]
    asks = Question("Purge", lambda: question[0], lambda: done.append("purged"))

    def press(label: str) -> None:
        next(one for one in asks.box.children if getattr(one, "description", None) == label).click()

    press("Purge")
    assert done == []
    press("No")
    press("Purge")
    press("Yes")
    assert done == ["purged"]
    question[0] = None
    press("Purge")
    assert [one.description for one in asks.box.children] == ["Purge"]


def test_what_was_typed_last_is_submitted() -> None:
    """A click that overtakes the last keystrokes waits for them."""
    submitted: list[tuple[str, str, str | None]] = []
    composer = SubmitForm(lambda *what: submitted.append(what), lambda: [("[1] x", "x = 1")], lambda: ["big"])
    composer.area.value = "print(1"
    composer._clicked()
    composer.area.value = "print(1)"
    wait_until(lambda: submitted, 10)
    assert submitted == [("print(1)", f"--queue {QUEUE_DEFAULT}", None)]


def test_options_are_those_of_the_magic() -> None:
    """Fields become a line as it would stand behind %%remote_exec."""
    composer = SubmitForm(lambda *_: None, lambda: [], lambda: ["big one"])
    composer._profile.value, composer._timeout.value, composer._cache.value = "big one", "5m", "--no-cache"
    composer.queue.value, composer._memory.value, composer._retries.value = "code_execution_heavy", "2GB", "0"
    assert composer.line() == (
        "--queue code_execution_heavy --profile 'big one' --timeout 5m --memory 2GB --retries 0 --no-cache"
    )


def test_cells_and_dead_letters_fill_the_box() -> None:
    """A cell of the history is copied; a dead letter is edited until it is submitted or discarded."""
    composer = SubmitForm(lambda *_: None, lambda: [("[1] x", "x = 1")], lambda: [])
    composer._from.value = "x = 1"
    assert composer.area.value == "x = 1"
    composer.load("y = 2", "code_execution_heavy", editing="12345678-9")
    assert (composer.area.value, composer.queue.value) == ("y = 2", "code_execution_heavy")
    assert composer._go.description == "Requeue edited"
    composer.clear()
    assert (composer.area.value, composer._go.description, composer._editing) == ("", "Submit", None)
