"""The panel of ``%remote_queue``: see the cluster, submit to it, and look after what it could not do.

A thread reads once a second, in one round trip, while somebody looks (see ``presence``); every section is a widget of
its own and is sent only when it changed, so scroll position and selection stay.
"""

from __future__ import annotations

import atexit
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from codeexec_magic.display import live, presence, rows, theme
from codeexec_magic.display.board import Board
from codeexec_magic.display.composer import Composer
from codeexec_magic.display.lists import JobList, LetterList
from codeexec_magic.display.opened import Opened, Watcher
from codeexec_magic.display.origin import Origin
from codeexec_magic.display.panel_style import STYLE
from codeexec_magic.errors import CodeExecError
from codeexec_magic.store.history import SAMPLE_S, SHOWN_S, History
from codeexec_magic.store.monitor import Reading, read

if TYPE_CHECKING:
    from codeexec_magic.client import Client
    from codeexec_magic.job import Job
    from codeexec_magic.store import JobState

#: seconds between readings
REFRESH_S = 1.0
_ALL_SAMPLES = round(SHOWN_S / SAMPLE_S) + 2

_open: weakref.WeakSet[Panel] = weakref.WeakSet()


class Actions(Protocol):
    """What a panel needs from the notebook it stands in."""

    @property
    def client(self) -> Client:
        """The cluster."""

    def mine(self) -> Sequence[str]:
        """Ids of the jobs this notebook submitted, latest first."""

    def history(self) -> Sequence[tuple[str, str]]:
        """Labels and sources of its cells, latest first."""

    def profiles(self) -> Sequence[str]:
        """Names of profiles."""

    def submit(self, code: str, options: str) -> Job:
        """Queue a cell."""

    def requeue(self, task_id: str, code: str | None = None) -> Job:
        """Run an ended job again."""

    def watch(self, job: Job) -> Watcher:
        """Follow a job."""


class Panel:
    """The live panel; ``close()`` ends it, ``job`` is the Job that was submitted or opened last."""

    def __init__(self, origin: Origin, actions: Actions) -> None:
        import ipywidgets as widgets

        self._origin, self._actions = origin, actions
        self._display_id = uuid.uuid4().hex
        #: the last job that was submitted or opened here
        self.job: Job | None = None
        self.reading: Reading | None = None
        self._history = History()
        self._opened: Opened | None = None
        self._closed = False
        self._seen_at = time.monotonic()
        self._away_since: float | None = None
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._head, self._banners, self._kpis = rows.html(flex="1 1 auto"), rows.html(), rows.html(kind="cxm-data")
        self._queues, self._workers = rows.html(kind="cxm-data"), rows.html(kind="cxm-data")
        self._curves = rows.html(kind="cxm-data")
        tables = widgets.GridBox(
            [self._queues, self._workers],
            layout=widgets.Layout(
                grid_template_columns="repeat(auto-fit,minmax(min(100%,490px),1fr))", grid_gap="12px 20px", margin="0"
            ),
        )
        self._place = widgets.VBox(layout=widgets.Layout(margin="0"))
        self._composer = Composer(self._submit, actions.history, actions.profiles)
        self._jobs = JobList(self._wake.set, self._by_id(self.open), self._by_id(self._cancel))
        self._letters = LetterList(
            self._wake.set,
            open_=self._by_id(self._tell),
            requeue=self._by_id(self._requeue),
            edit=self._by_id(self._edit_letter),
            drop=self._by_id(self._drop),
            requeue_all=lambda: self._try(self._requeue_all),
            purge=lambda: self._try(self._purge),
        )
        for listed in (self._jobs.box, self._letters.box):
            listed.add_class("cxm-data")
        beat = rows.button("", self._beat, kind="cxm-beat")
        style = rows.html(STYLE, display="none")
        head = rows.line(self._head, beat, rows.button("Close", self.close, hint="Stop reading; leave a snapshot"))
        self.box = widgets.VBox(
            [
                style,
                head,
                self._banners,
                self._kpis,
                tables,
                self._curves,
                self._composer.box,
                self._place,
                self._jobs.box,
                self._letters.box,
                rows.html(presence.MARKER, display="block", height="0"),
            ],
            layout=widgets.Layout(grid_gap="12px", width="100%"),
        )
        self.box.add_class("cxm-panel")

    def show(self) -> Panel:
        """Put the panel on the page and keep it up to date; it takes the place of one the same cell showed before."""
        for other in list(_open):
            if self._origin.cell_id and other._origin.cell_id == self._origin.cell_id:
                other.close()
        self.refresh()
        bundle = {
            live.VIEW: {"version_major": 2, "version_minor": 0, "model_id": self.box.model_id},
            "text/plain": repr(self),
        }
        self._origin.publish(bundle, self._display_id)
        _open.add(self)
        threading.Thread(target=self._run, name="codeexec-panel", daemon=True).start()
        return self

    def close(self) -> None:
        """Stop reading, and leave a snapshot on the page."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._wake.set()
        _open.discard(self)
        if self._opened is not None:
            self._opened.leave()
        self._origin.publish(self.snapshot(), self._display_id, update=True)
        live._close(self.box)

    def snapshot(self) -> dict[str, str]:
        """The last reading as a bundle that stays true."""
        if self.reading is None:
            return {"text/plain": "the broker could not be reached"}
        board = Board(self.reading, self._history, embedded=self._actions.client.embedded)
        return {"text/html": board.snapshot_html(), "text/plain": board.snapshot_text()}

    def refresh(self) -> None:
        """Read once and draw."""
        with self._lock:
            if self._closed:
                return
            samples = 3 if self._history.samples and self._away_since is None else _ALL_SAMPLES
            query = self._jobs.filters.query(self._actions.mine(), samples=samples, letters_page=self._letters.page)
            try:
                reading = read(self._actions.client.store, query)
            except CodeExecError as err:
                self._away(str(err))
                return
            self._draw(reading)
        if self._opened is not None:
            self._opened.follow()

    def open(self, task_id: str) -> None:
        """Show a job with its output inside the panel."""
        self._open_job(self._actions.client.job(task_id))

    def submit(self, code: str, options: str = "") -> Job:
        """Submit code with the options of ``%%remote_exec``, and open the job.

        Raises:
            CodeExecError: it was not accepted.
        """
        job = self._actions.submit(code, options)
        self._open_job(job)
        return job

    def _draw(self, reading: Reading) -> None:
        if self._away_since is not None:
            self._away_since = None
            self.box.remove_class("cxm-stale")
        self.reading = reading
        self._history.add(reading.samples, reading.sample())
        board = Board(reading, self._history, embedded=self._actions.client.embedded)
        rows.draw(self._head, f'<div class="cxm-row"><b>Queue</b>{theme.pill("succeeded", "●", "Live")}</div>')
        rows.draw(self._banners, board.banners())
        rows.draw(self._kpis, board.kpis())
        rows.draw(self._queues, board.queues())
        rows.draw(self._workers, board.workers())
        rows.draw(self._curves, board.curves())
        self._composer.refresh([queue.name for queue in reading.queues])
        self._jobs.update(reading)
        self._letters.update(reading)

    def _away(self, why: str) -> None:
        if self._away_since is None:
            self._away_since = time.monotonic()
            self.box.add_class("cxm-stale")
        gone = theme.age(time.monotonic() - self._away_since)
        rows.draw(
            self._head,
            f'<div class="cxm-row"><b>Queue</b>{theme.pill("warn", "↻", f"Broker away for {gone}, trying again")}'
            f'<span class="cxm-dim">{theme.escaped(why, 200)}; what stands below is from before</span></div>',
        )

    def _run(self) -> None:
        paused = False
        while not self._closed:
            self._wake.wait(REFRESH_S)
            self._wake.clear()
            if time.monotonic() - self._seen_at > presence.LEASE_S:
                if not paused and not self._closed:
                    self._pause()
                paused = True
                continue
            paused = False
            try:
                self.refresh()
            except Exception as err:  # whatever stands in Redis must not end the thread
                if not self._closed:
                    self._away(f"{type(err).__name__}: {err}")

    def _pause(self) -> None:
        """Nobody looks: read nothing."""
        if self._opened is not None:
            self._opened.leave()
        rows.draw(
            self._head, f'<div class="cxm-row"><b>Queue</b>{theme.pill("queued", "○", "Paused: not on screen")}</div>'
        )

    def _beat(self) -> None:
        was_away = time.monotonic() - self._seen_at > presence.LEASE_S
        self._seen_at = time.monotonic()
        if was_away:
            self._wake.set()

    def _submit(self, code: str, options: str, editing: str | None) -> None:
        self._composer.say("")
        try:
            if editing is None:
                self.submit(code, options)
            else:
                self._open_job(self._actions.requeue(editing, code))
                self._composer.clear()
        except Exception as err:  # also what IPython raises for an option of no use
            self._composer.say(str(err), bad=True)

    def _open_job(self, job: Job) -> None:
        if self._opened is not None:
            self._opened.close()
        self.job = job
        self._opened = Opened(
            self._origin,
            job,
            watch=self._actions.watch,
            again=lambda one: self._try(lambda: self._open_job(self._actions.requeue(one.id))),
            edit=self._edit_job,
            close=self._close_job,
            embedded=self._actions.client.embedded,
        )
        self._place.children = (self._opened.box,)
        self._opened.follow()
        self._wake.set()

    def _close_job(self) -> None:
        self._place.children = ()
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def _edit_job(self, state: JobState) -> None:
        self._composer.load(state.code, state.queue)

    def _cancel(self, task_id: str) -> None:
        self._actions.client.cancel(task_id)

    def _tell(self, task_id: str) -> None:
        self._letters.tell(self._actions.client.dead_letter(task_id))

    def _edit_letter(self, task_id: str) -> None:
        letter = self._actions.client.dead_letter(task_id)
        self._composer.load(letter.code, letter.queue, editing=letter.task_id)

    def _requeue(self, task_id: str) -> None:
        self._open_job(self._actions.requeue(task_id))

    def _drop(self, task_id: str) -> None:
        self._actions.client.drop(task_id)
        self._letters.tell(None)

    def _requeue_all(self) -> None:
        for letter in self._actions.client.dead_letters(10_000):
            self._actions.requeue(letter.task_id)

    def _purge(self) -> None:
        self._actions.client.purge_dead_letters()
        self._letters.tell(None)

    def _by_id(self, action: Callable[[str], None]) -> Callable[[str], None]:
        return lambda task_id: self._try(lambda: action(task_id))

    def _try(self, action: Callable[[], None]) -> None:
        """For buttons: what went wrong is said in the panel."""
        try:
            action()
        except CodeExecError as err:
            self._composer.say(str(err), bad=True)
        self._wake.set()

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
