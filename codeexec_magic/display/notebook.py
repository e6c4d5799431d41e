"""A job in a notebook whose cell waits for it: a live card above, its output below, a card for ever at the end."""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from codeexec_magic.contract import Status
from codeexec_magic.display import live, render
from codeexec_magic.display.origin import Origin
from codeexec_magic.display.replay import Replay
from codeexec_magic.display.sanitize import Policy

if TYPE_CHECKING:
    from codeexec_magic.store import JobState

#: a job that ends sooner gets no live card: building one costs more than such a job (seconds)
CARD_AFTER_S = 0.2


class NotebookView:
    """Used from the thread that shows the job, one call at a time.

    Args:
        origin: the cell.
        policy: what the job may show.
        job_id: the job.
        cancel: what the Cancel button does.
        embedded: it runs on the embedded cluster.
    """

    def __init__(
        self, origin: Origin, policy: Policy, job_id: str, cancel: live.Action, *, embedded: bool = False
    ) -> None:
        self._origin = origin
        self._embedded = embedded
        self._policy = policy
        self._cancel = cancel
        self._replay = Replay(origin, policy, job_id, cleared=self._put_back)
        self._display_id = uuid.uuid4().hex
        self._card: live.LiveCard | None = None
        self._widgets = origin.attended and live.available()
        self._started = time.monotonic()
        self._told_no_worker = False
        if self._widgets:
            # keeps the place above the output; an empty bundle draws nothing, and comparing tools skip it
            origin.publish({}, self._display_id)

    def event(self, event: Mapping[str, Any]) -> None:
        """Show one event."""
        self._replay.feed(event)

    def flush(self) -> None:
        """A batch of events is through."""
        self._replay.flush()

    def state(self, state: JobState) -> None:
        """Show where the job stands."""
        if not self._widgets:
            self._say_no_worker(state)
            return
        if state.done or time.monotonic() - self._started < CARD_AFTER_S:
            return
        first = self._card is None
        if self._card is None:
            self._card = live.LiveCard(
                self._origin, self._display_id, task_id=state.id, instead=render.submitted(state)
            )
            # a button that cannot answer before the cell has ended would only mislead
            if self._origin.buttons_answer:
                self._card.buttons({"Cancel": self._cancel}, hint="Cancel the task (so does Stop)")
        self._card.draw(live_html(state, self._policy, embedded=self._embedded))
        if first:
            self._card.show(update=True)

    def finish(self, state: JobState, error: BaseException | None = None) -> None:
        """Replace what moved by what stays; the error is shown here if no cell is there to raise it."""
        self._replay.flush()
        self._remove()
        if error is not None:
            self._origin.error(error, list(error._render_traceback_()))  # type: ignore[attr-defined]
        publish_card(self._origin, state, self._policy)

    def leave(self) -> None:
        """Take the live card away and say nothing."""
        self._replay.flush()
        self._remove()

    def _remove(self) -> None:
        if self._card is not None:
            self._card.hide()
            self._card.close()
            self._card = None

    def _put_back(self) -> None:
        """The cell cleared its output, and our card with it."""
        if self._widgets:
            self._origin.publish(self._card.view if self._card else {}, self._display_id)

    def _say_no_worker(self, state: JobState) -> None:
        if state.status is Status.QUEUED and state.listeners == 0 and not self._told_no_worker:
            self._told_no_worker = True
            sys.stderr.write(f"{render.no_worker(state.queue)}; waiting for one\n")
            sys.stderr.flush()


def live_html(state: JobState, policy: Policy, *, embedded: bool) -> str:
    """The card as it stands in a live card."""
    # the pulse is drawn anew with every update; starting it where it had come to hides that
    phase = time.monotonic() % 1.2
    notes = render.advice(state, embedded=embedded)
    return render.card_html(state, live=True, phase=phase, name=False, notes=notes, trusted=policy.trusted)


def publish_card(origin: Origin, state: JobState, policy: Policy) -> None:
    """Write the card that stays."""
    notes = [*render.advice(state), *policy.notes]
    origin.publish(
        {
            "text/html": render.card_html(state, notes=notes, trusted=policy.trusted),
            "text/plain": render.card_text(state, notes=notes, trusted=policy.trusted),
        }
    )
