"""A job in a notebook whose cell waits for it: a live card above, its output below, a card for ever at the end."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from codeexec_magic.contract import Status
from codeexec_magic.display import live_card, render
from codeexec_magic.display.card_slot import CardSlot, publish_card
from codeexec_magic.display.parent_cell import ParentCell
from codeexec_magic.display.replay import Replay
from codeexec_magic.display.sanitize import Policy

if TYPE_CHECKING:
    from codeexec_magic.store import JobState


class NotebookView:
    """Used from the thread that shows the job, one call at a time.

    Args:
        parent_cell: the cell.
        policy: what the job may show.
        job_id: the job.
        cancel: what the Cancel button does.
        embedded: it runs on the embedded cluster.
    """

    def __init__(
        self, parent_cell: ParentCell, policy: Policy, job_id: str, cancel: live_card.Action, *, embedded: bool = False
    ) -> None:
        self._parent_cell = parent_cell
        self._policy = policy
        self._told_no_worker = False
        self._place: CardSlot | None = None
        if parent_cell.attended and live_card.available():
            self._place = CardSlot(parent_cell, policy, cancel, embedded=embedded, waits=True)
        # a cell that clears its output takes our card along
        self._replay = Replay(parent_cell, policy, job_id, cleared=self._place.put_back if self._place else None)

    def event(self, event: Mapping[str, Any]) -> None:
        """Show one event."""
        self._replay.feed(event)

    def flush(self) -> None:
        """A batch of events is through."""
        self._replay.flush()

    def state(self, state: JobState) -> None:
        """Show where the job stands."""
        if self._place is not None:
            self._place.state(state)
        else:
            self._say_no_worker(state)

    def finish(self, state: JobState, error: BaseException | None = None) -> None:
        """Replace what moved by what stays; the error is shown here if no cell is there to raise it."""
        self._replay.flush()
        self._remove()
        if error is not None:
            self._parent_cell.error(error, list(error._render_traceback_()))  # type: ignore[attr-defined]
        publish_card(self._parent_cell, state, self._policy)

    def leave(self) -> None:
        """Take the live card away and say nothing."""
        self._replay.flush()
        self._remove()

    def _remove(self) -> None:
        if self._place is not None:
            self._place.remove()

    def _say_no_worker(self, state: JobState) -> None:
        if state.status is Status.QUEUED and state.listeners == 0 and not self._told_no_worker:
            self._told_no_worker = True
            sys.stderr.write(f"{render.no_worker(state.queue)}; waiting for one\n")
            sys.stderr.flush()
