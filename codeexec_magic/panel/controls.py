"""Pieces of a panel: HTML that is sent only when it changed, buttons, rows with buttons, a question before the deed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from codeexec_magic.display.html_clean import NO_MATH
from codeexec_magic.display.live_card import answer_on_own_shell

Action = Callable[[], None]

#: a row that has just changed what it shows ignores clicks for so long: they were meant for what stood there (seconds)
_SETTLE_S = 0.6


def html(value: str = "", *, kind: str = "", **layout: str) -> Any:
    """An HTML widget."""
    import ipywidgets as widgets

    made = widgets.HTML(value, layout=widgets.Layout(margin="0", **layout))
    if kind:
        made.add_class(kind)
    return made


def draw(widget: Any, value: str) -> None:
    """Replace the content, if it differs: a replaced section loses its selection."""
    value = f'<div class="cxm {NO_MATH}">{value}</div>'
    if widget.value != value:
        widget.value = value


def button(label: str, action: Action, *, hint: str = "", kind: str = "") -> Any:
    """A button in the look of the cards."""
    import ipywidgets as widgets

    made = widgets.Button(description=label, tooltip=hint, layout=widgets.Layout(width="auto", flex="0 0 auto"))
    made.add_class("cxm-button")
    if kind:
        made.add_class(kind)
    answer_on_own_shell(made)
    made.on_click(lambda _: action())
    return made


def line(*children: Any, **layout: str) -> Any:
    """Widgets side by side."""
    import ipywidgets as widgets

    asked = {"align_items": "center", "grid_gap": "8px", "margin": "0", "flex_flow": "row wrap"} | layout
    made = widgets.HBox(list(children), layout=widgets.Layout(**asked))
    made.add_class("cxm-bar-row")
    return made


@dataclass(frozen=True)
class Item:
    """What one row shows."""

    id: str
    html: str
    buttons: tuple[str, ...]  #: of those that rows have, the ones this row offers


class _Row:
    def __init__(self, actions: Mapping[str, Callable[[str], None]], shared: Mapping[str, Any]) -> None:
        import ipywidgets as widgets

        self.id, self._bound = "", 0.0
        self._shared = shared
        self._html = widgets.HTML(layout=shared["html"])
        self._buttons: dict[str, Any] = {}
        for label, action in actions.items():
            made = widgets.Button(description=label, layout=shared["shown"], style=shared["style"])
            made.add_class("cxm-button")
            made.on_click(lambda _, act=action: self._clicked(act))
            answer_on_own_shell(made)
            self._buttons[label] = made
        bar = widgets.HBox(list(self._buttons.values()), layout=shared["bar"])
        self.box = widgets.HBox([self._html, bar], layout=shared["row"])
        self.box.add_class("cxm-item")

    def show(self, item: Item) -> None:
        if self.id != item.id:
            self.id, self._bound = item.id, time.monotonic()
        draw(self._html, item.html)
        for label, made in self._buttons.items():
            layout = self._shared["shown" if label in item.buttons else "hidden"]
            if made.layout is not layout:
                made.layout = layout

    def _clicked(self, action: Callable[[str], None]) -> None:
        if time.monotonic() - self._bound >= _SETTLE_S:
            action(self.id)


class Rows:
    """Rows that stay with what they show, so that a click never meets another one than was seen.

    Args:
        actions: buttons by label; called with the id of the row.
        width: of the buttons, the same in every row, so that columns stay in line.
    """

    def __init__(self, actions: Mapping[str, Callable[[str], None]], *, width: str) -> None:
        import ipywidgets as widgets

        self._actions = actions
        self._shared = {
            "html": widgets.Layout(flex="1 1 auto", min_width="0", margin="0"),
            "shown": widgets.Layout(width="auto", flex="0 0 auto", margin="0"),
            "hidden": widgets.Layout(display="none"),
            "row": widgets.Layout(align_items="center", grid_gap="6px", margin="0", width="100%"),
            "bar": widgets.Layout(width=width, flex="0 0 auto", margin="0", grid_gap="6px", justify_content="flex-end"),
            "style": widgets.ButtonStyle(),
        }
        self._rows: list[_Row] = []
        self._order: list[str] = []
        self.box = widgets.VBox(layout=widgets.Layout(margin="0", width="100%"))

    def update(self, items: Sequence[Item]) -> None:
        """Show exactly these, in this order."""
        wanted = {item.id for item in items}
        bound = {row.id: row for row in self._rows if row.id in wanted}
        free = [row for row in self._rows if row.id not in wanted]
        shown = []
        for item in items:
            row = bound.get(item.id)
            if row is None:
                row = free.pop() if free else self._new()
            row.show(item)
            shown.append(row)
        boxes = tuple(row.box for row in shown)
        if self.box.children != boxes:
            self.box.children = boxes
        for row in free:
            row.id = ""

    def _new(self) -> _Row:
        row = _Row(self._actions, self._shared)
        self._rows.append(row)
        return row


class Question:
    """A button that asks before it acts.

    Args:
        label: on the button.
        question: what is asked; None when there is nothing to do.
        action: the deed.
    """

    def __init__(self, label: str, question: Callable[[], str | None], action: Action) -> None:
        self._question, self._action = question, action
        self._ask = button(label, self._asked)
        self._text = html()
        self._yes = button("Yes", self._agreed, kind="cxm-yes")
        self._no = button("No", self._reset)
        self.box = line(self._ask)

    def _asked(self) -> None:
        question = self._question()
        if question is not None:
            from codeexec_magic.display.theme import escaped

            draw(self._text, f"<b>{escaped(question, 200)}</b>")
            self.box.children = (self._text, self._yes, self._no)

    def _agreed(self) -> None:
        self._reset()
        self._action()

    def _reset(self) -> None:
        self.box.children = (self._ask,)
