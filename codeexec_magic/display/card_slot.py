"""The place of a job's card in a cell: kept from the start, then a live card's if one pays, then that of what stays."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING

from codeexec_magic.display import live_card, render
from codeexec_magic.display.parent_cell import ParentCell
from codeexec_magic.display.sanitize import Policy

if TYPE_CHECKING:
    from codeexec_magic.store import JobState

#: a job that ends sooner gets no live card: building one costs more than such a job (seconds)
CARD_AFTER_S = 0.2


class CardSlot:
    """Where the live card of one job appears. Made while the cell runs, above all that the job writes.

    Args:
        parent_cell: the cell.
        policy: what the job may show.
        cancel: what the Cancel button does.
        embedded: the job runs on the embedded cluster.
        waits: the cell waits for the job; otherwise the card has room for the job's output.
    """

    def __init__(
        self, parent_cell: ParentCell, policy: Policy, cancel: live_card.Action, *, embedded: bool, waits: bool
    ) -> None:
        self._parent_cell = parent_cell
        self._policy = policy
        self._cancel = cancel
        self._embedded = embedded
        self._waits = waits
        self._display_id = uuid.uuid4().hex
        self._started = time.monotonic()
        #: once there is one
        self.card: live_card.LiveCard | None = None
        self.put_back()

    def state(self, state: JobState) -> None:
        """Show where the job stands, once it has lasted long enough for a card."""
        if state.done or time.monotonic() - self._started < CARD_AFTER_S:
            return
        first = self.card is None
        if self.card is None:
            self.card = live_card.LiveCard(
                self._parent_cell,
                self._display_id,
                task_id=state.id,
                instead=render.submitted(state),
                output=not self._waits,
            )
            # a button that cannot answer before the cell has ended would only mislead
            if not self._waits or self._parent_cell.buttons_answer:
                hint = "Cancel the task (so does Stop)" if self._waits else "Cancel the task"
                self.card.buttons({"Cancel": self._cancel}, hint=hint)
        self.card.draw(live_html(state, self._policy, embedded=self._embedded))
        if first:
            self.card.show(update=True)

    def put_back(self) -> None:
        """Keep the place, or what is in it, at the end of what the cell shows now."""
        # an empty bundle draws nothing, and comparing tools skip it
        self._parent_cell.publish(self.card.view if self.card else {}, self._display_id)

    def remove(self) -> None:
        """Take the live card away."""
        if self.card is not None:
            self.card.hide()
            self.card.close()
            self.card = None


def live_html(state: JobState, policy: Policy, *, embedded: bool) -> str:
    """The card as it stands in a live card."""
    # the pulse is drawn anew with every update; starting it where it had come to hides that
    phase = time.monotonic() % 1.2
    notes = render.advice(state, embedded=embedded)
    return render.card_html(state, live=True, phase=phase, name=False, notes=notes, trusted=policy.trusted)


def publish_card(parent_cell: ParentCell, state: JobState, policy: Policy, *, update: bool = False) -> None:
    """Write the card that stays.

    Args:
        parent_cell: where.
        state: the job.
        policy: what was shown of it, with its notes.
        update: replace the cards of this job that the notebook shows, instead of writing one.
    """
    notes = [*render.advice(state), *policy.notes]
    parent_cell.publish(
        {
            "text/html": render.card_html(state, notes=notes, trusted=policy.trusted),
            "text/plain": render.card_text(state, notes=notes, trusted=policy.trusted),
        },
        f"codeexec-card:{state.id}",
        update=update,
    )
