"""A job in a notebook whose cell has gone on: card and output in one widget, which a reloaded page finds again.

When the job ends, its output and its card are written below the cell for good and the widget leaves the page. A page
that was reloaded meanwhile gets neither (front ends forget the request); it keeps the widget, which shows the same.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from codeexec_magic.display import live_card, render
from codeexec_magic.display.card_slot import CardSlot, publish_card
from codeexec_magic.display.parent_cell import ParentCell
from codeexec_magic.display.sanitize import Policy
from codeexec_magic.display.transcript import Transcript

if TYPE_CHECKING:
    from codeexec_magic.store import JobState

#: redraw at most this often (seconds)
_REDRAW_S = 0.2


class BackgroundView:
    """Made while the cell runs, used from the thread that follows the job."""

    def __init__(
        self, parent_cell: ParentCell, policy: Policy, job_id: str, cancel: live_card.Action, *, embedded: bool = False
    ) -> None:
        self._parent_cell = parent_cell
        self._policy = policy
        self._scope = job_id
        self._transcript = Transcript(policy)
        self._place = CardSlot(parent_cell, policy, cancel, embedded=embedded, waits=False)
        self._drawn_at = 0.0
        self._drawn_version = -1

    def event(self, event: Mapping[str, Any]) -> None:
        """Take in one event."""
        self._transcript.feed(event)

    def state(self, state: JobState) -> None:
        """Show where the job stands."""
        self._place.state(state)

    def flush(self) -> None:
        """Show what came in since the last time, unless that was just now."""
        now = time.monotonic()
        if now - self._drawn_at >= _REDRAW_S:
            self._drawn_at = now
            self._draw()

    def finish(self, state: JobState, error: BaseException | None = None) -> None:
        """Write output, error and card for good."""
        lines = list(error._render_traceback_()) if error is not None and hasattr(error, "_render_traceback_") else []
        card = self._place.card
        if card is not None:
            if error is not None:
                self._transcript.error(type(error).__name__, str(error), lines)
            notes = [*render.advice(state), *self._policy.notes]
            card.draw(render.card_html(state, live=True, name=False, notes=notes, trusted=self._policy.trusted))
            card.buttons({})
            self._draw()
            card.hide()
            card.keep()
        self._write_output()
        if error is not None:
            self._parent_cell.error(error, lines)
        publish_card(self._parent_cell, state, self._policy)

    def _draw(self) -> None:
        card = self._place.card
        if card is not None and self._drawn_version != self._transcript.version:
            self._drawn_version = self._transcript.version
            card.outputs(self._transcript.latest())

    def _write_output(self) -> None:
        """The outputs as ordinary output of the cell."""
        import sys

        for output in self._transcript.outputs:
            if output["output_type"] == "stream":
                out = sys.stderr if output["name"] == "stderr" else sys.stdout
                out.write(output["text"])
                out.flush()
            elif output["output_type"] == "display_data":
                own = output["transient"].get("display_id")
                name = f"{self._scope}:{own}" if own is not None else None
                self._parent_cell.publish(output["data"], name, metadata=output["metadata"])
