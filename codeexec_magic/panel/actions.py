"""The part of a panel that does things: submit, open, run again, and look after dead letters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from codeexec_magic.display.parent_cell import ParentCell
from codeexec_magic.errors import CodeExecError, JobNotFound
from codeexec_magic.panel.job_detail import JobDetail, Watcher
from codeexec_magic.panel.job_lists import JobList, LetterList
from codeexec_magic.panel.submit_form import SubmitForm
from codeexec_magic.store.monitor import Query, Reading

if TYPE_CHECKING:
    from codeexec_magic.client import Client
    from codeexec_magic.job import Job
    from codeexec_magic.store import JobState

#: dead letters that one click on Requeue all takes
_ALL = 10_000


class Actions(Protocol):
    """What a panel needs from the notebook it stands in."""

    @property
    def client(self) -> Client:
        """The cluster."""

    def mine(self) -> Sequence[str]:
        """Ids of the jobs this notebook submitted, latest first."""

    def history(self) -> Sequence[tuple[str, str]]:
        """Labels and sources of its cells, latest first; those of remote cells with their line of options."""

    def profiles(self) -> Sequence[str]:
        """Names of profiles."""

    def submit(self, code: str, options: str) -> Job:
        """Queue a cell."""

    def requeue(self, task_id: str, code: str | None = None) -> Job:
        """Run an ended job again."""

    def drop(self, task_id: str) -> None:
        """Forget a dead letter."""

    def watch(self, job: Job) -> Watcher:
        """Follow a job."""


class PanelActions:
    """Code box, opened job, list of jobs and list of dead letters, and what their buttons do.

    Args:
        parent_cell: the cell of the panel.
        actions: the notebook.
        changed: called when there is something new to read.
    """

    def __init__(self, parent_cell: ParentCell, actions: Actions, changed: Callable[[], None]) -> None:
        import ipywidgets as widgets

        self._parent_cell, self._actions, self._changed = parent_cell, actions, changed
        #: the last job that was submitted or opened here
        self.job: Job | None = None
        self._opened: JobDetail | None = None
        self._place = widgets.VBox(layout=widgets.Layout(margin="0"))
        self._composer = SubmitForm(self._submit, actions.history, actions.profiles)
        self._jobs = JobList(changed, self._by_id(self.open), self._by_id(self._cancel))
        self._letters = LetterList(
            changed,
            open_=self._by_id(self._tell),
            requeue=self._by_id(self._requeue),
            edit=self._by_id(self._edit_letter),
            drop=self._by_id(self._drop),
            requeue_all=lambda: self._try(self._requeue_all),
            purge=lambda: self._try(self._purge),
        )
        for listed in (self._jobs.box, self._letters.box):
            listed.add_class("cxm-data")
        #: from top to bottom
        self.boxes = (self._composer.box, self._place, self._jobs.box, self._letters.box)

    def query(self, samples: int) -> Query:
        """What to read for what is shown."""
        return self._jobs.filters.query(self._actions.mine(), samples=samples, letters_page=self._letters.page)

    def update(self, reading: Reading) -> None:
        """Show a reading."""
        self._composer.refresh([queue.name for queue in reading.queues])
        self._jobs.update(reading)
        self._letters.update(reading)

    def follow(self) -> None:
        """Go on with the opened job, if it was left."""
        if self._opened is not None:
            self._opened.follow()

    def leave(self) -> None:
        """Read nothing of the opened job any more."""
        if self._opened is not None:
            self._opened.leave()

    def open(self, task_id: str) -> None:
        """Show a job with its output.

        Raises:
            JobNotFound: no such job.
        """
        self._show(self._actions.client.job(task_id))

    def submit(self, code: str, options: str) -> Job:
        """Submit code and open the job.

        Raises:
            CodeExecError: it was not accepted.
        """
        job = self._actions.submit(code, options)
        self._show(job)
        return job

    def _submit(self, code: str, options: str, editing: str | None) -> None:
        self._composer.say("")
        try:
            if editing is None:
                self.submit(code, options)
            else:
                self._show(self._actions.requeue(editing, code))
                self._composer.clear()
        except Exception as err:  # also what IPython raises for an option of no use
            self._composer.say(str(err), bad=True)

    def _show(self, job: Job) -> None:
        self._close_job()
        self.job = job
        self._opened = JobDetail(
            self._parent_cell,
            job,
            watch=self._actions.watch,
            again=lambda one: self._try(lambda: self._requeue(one.id)),
            edit=self._edit_job,
            close=self._close_job,
            embedded=self._actions.client.embedded,
        )
        self._place.children = (self._opened.box,)
        self._opened.follow()
        self._changed()

    def _close_job(self) -> None:
        self._place.children = ()
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()

    def _edit_job(self, state: JobState, options: str) -> None:
        self._composer.load(state.code, state.queue, options=options)

    def _cancel(self, task_id: str) -> None:
        self._actions.client.cancel(task_id)

    def _tell(self, task_id: str) -> None:
        self._letters.tell(self._actions.client.dead_letter(task_id))

    def _edit_letter(self, task_id: str) -> None:
        letter = self._actions.client.dead_letter(task_id)
        self._composer.load(letter.code, letter.queue, editing=letter.task_id)

    def _requeue(self, task_id: str) -> None:
        self._show(self._actions.requeue(task_id))

    def _drop(self, task_id: str) -> None:
        self._actions.drop(task_id)
        self._letters.tell(None)
        self._refresh_opened()

    def _requeue_all(self) -> None:
        """All of them; one that somebody else took meanwhile keeps nobody from the rest."""
        done, gone = 0, 0
        for letter in self._actions.client.dead_letters(_ALL):
            try:
                self._actions.requeue(letter.task_id)
                done += 1
            except JobNotFound:
                gone += 1
        left = f"; {gone} could not be: their jobs are no longer known" if gone else ""
        self._composer.say(f"{done} requeued{left}", bad=bool(gone))
        self._letters.tell(None)

    def _purge(self) -> None:
        self._actions.client.purge_dead_letters()
        self._letters.tell(None)
        self._refresh_opened()

    def _refresh_opened(self) -> None:
        """The opened job may have been the letter that is gone."""
        if self._opened is not None:
            self._opened.refresh()

    def _by_id(self, action: Callable[[str], None]) -> Callable[[str], None]:
        return lambda task_id: self._try(lambda: action(task_id))

    def _try(self, action: Callable[[], None]) -> None:
        """For buttons: what went wrong is said in the panel."""
        try:
            action()
        except CodeExecError as err:
            self._composer.say(str(err), bad=True)
        self._changed()
