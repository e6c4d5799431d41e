"""The panel of ``%remote_queue``: see the cluster, submit to it, and look after what it could not do.

A thread reads once a second, in one round trip, while somebody looks (see ``pulse`` and ``presence``); every section
is a widget of its own and is sent only when it changed, so scroll position and selection stay.
"""

from __future__ import annotations

import atexit
import threading
import time
import uuid
import weakref
from collections import deque
from typing import TYPE_CHECKING

from codeexec_magic.display import live_card, theme
from codeexec_magic.display.parent_cell import ParentCell
from codeexec_magic.errors import CodeExecError
from codeexec_magic.panel import controls, visibility
from codeexec_magic.panel.actions import Actions, PanelActions
from codeexec_magic.panel.dashboard import Dashboard
from codeexec_magic.panel.poller import Poller
from codeexec_magic.panel.style import STYLE
from codeexec_magic.store.monitor import Reading, read
from codeexec_magic.store.samples import SAMPLE_S, SHOWN_S, History

if TYPE_CHECKING:
    from codeexec_magic.job import Job

_ALL_SAMPLES = round(SHOWN_S / SAMPLE_S) + 2
#: closed panels that are kept for pages that were reloaded meanwhile
_KEPT = 5

_open: weakref.WeakSet[Panel] = weakref.WeakSet()
_kept: deque[Panel] = deque()


class Panel:
    """The live panel; ``close()`` ends it, ``job`` is the Job that was submitted or opened last."""

    def __init__(self, parent_cell: ParentCell, actions: Actions) -> None:
        import ipywidgets as widgets

        self._parent_cell, self._actions = parent_cell, actions
        self._display_id = uuid.uuid4().hex
        self.reading: Reading | None = None
        self._history = History()
        self._closed = False
        self._away_since: float | None = None
        self._held_until = 0.0
        self._lock = threading.Lock()
        self._pulse = Poller(self.refresh, rest=self._rest, broken=self._broken)
        self._job_actions = PanelActions(parent_cell, actions, self._changed)
        self._head, self._banners, self._kpis = (
            controls.html(flex="1 1 auto"),
            controls.html(),
            controls.html(kind="cxm-data"),
        )
        self._queues, self._workers = controls.html(kind="cxm-data"), controls.html(kind="cxm-data")
        self._curves = controls.html(kind="cxm-data")
        tables = widgets.GridBox(
            [self._queues, self._workers],
            layout=widgets.Layout(
                grid_template_columns="repeat(auto-fit,minmax(min(100%,490px),1fr))", grid_gap="12px 20px", margin="0"
            ),
        )
        signs = (
            controls.button("", self._pulse.beat, kind="cxm-beat"),
            controls.button("", self._hold, kind="cxm-hold"),
        )
        style = controls.html(STYLE, display="none")
        head = controls.line(
            self._head, *signs, controls.button("Close", self.close, hint="Stop reading; leave a snapshot")
        )
        marker = controls.html(visibility.MARKER, display="block", height="0")
        self.box = widgets.VBox(
            [style, head, self._banners, self._kpis, tables, self._curves, *self._job_actions.boxes, marker],
            layout=widgets.Layout(grid_gap="12px", width="100%"),
        )
        self.box.add_class("cxm-panel")

    @property
    def job(self) -> Job | None:
        """The last job that was submitted or opened here."""
        return self._job_actions.job

    def show(self) -> Panel:
        """Put the panel on the page and keep it up to date; it takes the place of one the same cell showed before."""
        for other in list(_open):
            if self._parent_cell.cell_id and other._parent_cell.cell_id == self._parent_cell.cell_id:
                other.close()
        self.refresh()
        bundle = {
            live_card.VIEW: {"version_major": 2, "version_minor": 0, "model_id": self.box.model_id},
            "text/plain": repr(self),
        }
        self._parent_cell.publish(bundle, self._display_id)
        _open.add(self)
        self._pulse.start()
        return self

    def close(self) -> None:
        """Stop reading, and leave a snapshot on the page."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._pulse.stop()
        _open.discard(self)
        self._job_actions.leave()
        snapshot = self.snapshot()
        self._parent_cell.publish(snapshot, self._display_id, update=True)
        self._keep(snapshot)

    def snapshot(self) -> dict[str, str]:
        """The last reading as a bundle that stays true."""
        if self.reading is None:
            return {"text/plain": "the broker could not be reached"}
        board = Dashboard(self.reading, self._history, embedded=self._actions.client.embedded)
        return {"text/html": board.snapshot_html(), "text/plain": board.snapshot_text()}

    def refresh(self) -> None:
        """Read once and draw."""
        with self._lock:
            if self._closed:
                return
            samples = 3 if self._history.samples and self._away_since is None else _ALL_SAMPLES
            try:
                reading = read(self._actions.client.store, self._job_actions.query(samples))
            except CodeExecError as err:
                self._away(str(err))
                return
            self._draw(reading)
        self._job_actions.follow()

    def open(self, task_id: str) -> None:
        """Show a job with its output inside the panel.

        Raises:
            JobNotFound: no such job.
        """
        self._job_actions.open(task_id)

    def submit(self, code: str, options: str = "") -> Job:
        """Submit code with the options of ``%%remote_exec``, and open the job.

        Raises:
            CodeExecError: it was not accepted.
        """
        return self._job_actions.submit(code, options)

    def _draw(self, reading: Reading) -> None:
        if self._away_since is not None:
            self._away_since = None
            self.box.remove_class("cxm-stale")
        self.reading = reading
        self._history.add(reading.samples, reading.sample())
        board = Dashboard(reading, self._history, embedded=self._actions.client.embedded)
        held = time.monotonic() < self._held_until
        note = '<span class="cxm-dim">tables stand still while text in them is selected</span>' if held else ""
        self._say(theme.pill("succeeded", "●", "Live") + note)
        controls.draw(self._banners, board.banners())
        controls.draw(self._kpis, board.kpis())
        if held:
            return
        controls.draw(self._queues, board.queues())
        controls.draw(self._workers, board.workers())
        controls.draw(self._curves, board.curves())
        self._job_actions.update(reading)

    def _away(self, why: str) -> None:
        gone = self._stale()
        self._say(
            theme.pill("warn", "↻", f"Broker away for {gone}, trying again")
            + f'<span class="cxm-dim">{theme.escaped(why, 200)}; what stands below is from before</span>'
        )

    def _broken(self, err: Exception) -> None:
        gone = self._stale()
        self._say(
            theme.pill("failed", "✕", f"Cannot draw for {gone}, trying again")
            + f'<span class="cxm-dim">{theme.escaped(f"{type(err).__name__}: {err}", 200)}</span>'
        )

    def _stale(self) -> str:
        """What is shown is from before; since when."""
        if self._away_since is None:
            self._away_since = time.monotonic()
            self.box.add_class("cxm-stale")
        return theme.age(time.monotonic() - self._away_since)

    def _hold(self) -> None:
        """Text is selected: redraw nothing that could contain it."""
        self._held_until = time.monotonic() + visibility.HOLD_S

    def _changed(self) -> None:
        """Somebody did something, and wants to see it."""
        self._held_until = 0.0
        self._pulse.hurry()

    def _rest(self) -> None:
        """Nobody looks: read nothing."""
        self._job_actions.leave()
        self._say(theme.pill("queued", "○", "Paused: not on screen"))

    def _say(self, html: str) -> None:
        controls.draw(self._head, f'<div class="cxm-row"><b>Queue</b>{html}</div>')

    def _keep(self, snapshot: dict[str, str]) -> None:
        """Leave the snapshot in the widget too: a page that was reloaded since does not hear of the update."""
        still = snapshot.get("text/html") or f"<pre>{theme.block(snapshot['text/plain'])}</pre>"
        old, self.box.children = self.box.children, (controls.html(still),)
        self.box.remove_class("cxm-panel")
        self.box.remove_class("cxm-stale")
        for child in old:
            live_card._close(child)
        _kept.append(self)
        while len(_kept) > _KEPT:
            live_card._close(_kept.popleft().box)

    def _ipython_display_(self) -> None:
        """It stands on the page already; naming it at the end of a cell shows no second one."""

    def __repr__(self) -> str:
        return "<queue panel: live; %remote_queue --once is the form that stays>"


def close_all() -> None:
    """Close every open panel."""
    for panel in list(_open):
        panel.close()


# a view whose model is gone would be drawn as an error
atexit.register(close_all)
