"""Buttons under the card of a dead letter: requeue, edit, drop. Gone with the kernel; ``%remote_dlq`` does the same."""

from __future__ import annotations

import atexit
import uuid
import weakref
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from codeexec_magic.display import live_card, theme
from codeexec_magic.display.parent_cell import ParentCell
from codeexec_magic.errors import CodeExecError

#: what runs again: this module only hands it on
JobT = TypeVar("JobT")

_open: weakref.WeakSet[DeadLetterActions[Any]] = weakref.WeakSet()


class DeadLetterActions(Generic[JobT]):
    """A row of buttons; made in the thread that showed the job.

    Args:
        parent_cell: the cell under which it stands.
        task_id: the dead letter.
        requeue: runs it again, with edited code or its own.
        drop: forgets it.
        code: its code.
        follow: shows the job that runs again.
    """

    def __init__(
        self,
        parent_cell: ParentCell,
        task_id: str,
        *,
        requeue: Callable[[str | None], JobT],
        drop: Callable[[], object],
        code: Callable[[], str],
        follow: Callable[[JobT], None],
    ) -> None:
        self._parent_cell = parent_cell
        self._task_id = task_id
        self._requeue, self._drop, self._code, self._follow = requeue, drop, code, follow
        self._card = live_card.LiveCard(parent_cell, uuid.uuid4().hex)

    def show(self) -> None:
        """Put the row on the page."""
        self._say("Run it again, edit it, or drop it")
        self._offer()
        self._card.show(update=False)
        _open.add(self)

    def close(self) -> None:
        """Take the row away."""
        _open.discard(self)
        self._card.hide()
        self._card.close()

    def _offer(self) -> None:
        self._card.buttons({"Requeue": lambda: self._again(None), "Edit": self._edit, "Drop": self._forget})

    def _edit(self) -> None:
        import ipywidgets as widgets

        try:
            code = self._code()
        except CodeExecError as err:
            self._say(str(err))
            return
        rows = min(20, code.count("\n") + 2)
        area = widgets.Textarea(code, rows=rows, layout=widgets.Layout(width="auto"))
        area.add_class("cxm-code")
        self._card.insert(area)
        self._card.buttons({"Requeue edited": lambda: self._again(area.value), "Close": self._close_editor})

    def _close_editor(self) -> None:
        self._card.insert()
        self._offer()

    def _again(self, code: str | None) -> None:
        try:
            job = self._requeue(code)
        except CodeExecError as err:
            self._say(str(err))
            self._card.buttons({})
            self._offer() if code is None else self._edit_again(code)
            return
        self._parent_cell.run(lambda: self._follow(job))
        self.close()

    def _edit_again(self, code: str) -> None:
        self._card.buttons({"Requeue edited": lambda: self._again(code), "Close": self._close_editor})

    def _forget(self) -> None:
        try:
            self._drop()
        except CodeExecError as err:
            self._say(str(err))
            return
        self.close()

    def _say(self, line: str) -> None:
        self._card.draw(theme.frame(f'<div class="cxm-row cxm-dim">{theme.escaped(line, 400)}</div>', live=True))


@atexit.register
def _close_all() -> None:
    # a view whose model is gone would be drawn as an error
    for one in list(_open):
        one.close()
