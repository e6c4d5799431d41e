"""The job that is open in a panel: its card, its output, and what can be done with it."""

from __future__ import annotations

import html
import json
import shlex
import threading
import uuid
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from codeexec_magic.contract import Status
from codeexec_magic.display import live_card, render, theme
from codeexec_magic.display.card_slot import live_html
from codeexec_magic.display.parent_cell import ParentCell
from codeexec_magic.display.sanitize import Policy
from codeexec_magic.display.transcript import Transcript
from codeexec_magic.errors import CodeExecError
from codeexec_magic.hostile_text import one_line
from codeexec_magic.panel import controls, options_line

if TYPE_CHECKING:
    from codeexec_magic.contract import ExecutionResult
    from codeexec_magic.job import Job
    from codeexec_magic.store import JobState

#: a cell larger than this is not put into a link (characters)
_LINKED = 50_000


class Watcher(Protocol):
    """What an opened job is followed with; the magics have one that reads in a thread of its own."""

    result: ExecutionResult | None
    final: JobState | None

    def show(self, view: Any, timeout: float | None = None) -> bool:
        """Show the job until it ends, or for ``timeout`` seconds."""

    def leave(self) -> None:
        """Stop reading."""


class JobDetail:
    """One job; made anew for the next one.

    Args:
        parent_cell: the cell of the panel.
        job: the job.
        watch: makes what follows it.
        again: runs it again.
        edit: takes its code and its options into the form.
        close: takes it out of the panel.
        embedded: on the embedded cluster.
    """

    def __init__(
        self,
        parent_cell: ParentCell,
        job: Job,
        *,
        watch: Callable[[Job], Watcher],
        again: Callable[[Job], None],
        edit: Callable[[JobState, str], None],
        close: Callable[[], None],
        embedded: bool,
    ) -> None:
        self.job = job
        self._watch, self._again, self._edit, self._close = watch, again, edit, close
        self._embedded = embedded
        self._policy = Policy()
        self._transcript = Transcript(self._policy)
        self._drawn = -1
        self._card = live_card.LiveCard(parent_cell, uuid.uuid4().hex, output=True)
        self._message = controls.html()
        self._link = controls.html()
        self._card.insert(self._link, self._message)
        self._watcher: Watcher | None = None
        self._state: JobState | None = None
        self._line: str | None = None
        self.ended = False

    @property
    def box(self) -> Any:
        """The widget."""
        return self._card.box

    def follow(self) -> None:
        """Read, unless that is going on or there is nothing more to read."""
        if self._watcher is not None or self.ended:
            return
        self._transcript, self._drawn = Transcript(self._policy), -1
        self._watcher = watcher = self._watch(self.job)
        threading.Thread(target=self._run, args=(watcher,), name="codeexec-panel-job", daemon=True).start()

    def refresh(self) -> None:
        """Draw the card of an ended job anew: its dead letter may be gone."""
        if self.ended:
            self._state = state = self.job.state()
            self._card.draw(self._ended_html(state))

    def leave(self) -> None:
        """Stop reading; the job is not touched."""
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.leave()

    def close(self) -> None:
        """Give up the widgets."""
        self.leave()
        self._card.close()

    def event(self, event: Mapping[str, Any]) -> None:
        """Take in one event."""
        self._transcript.feed(event)

    def state(self, state: JobState) -> None:
        """Show where it stands."""
        self._state = state
        if not state.done:
            self._card.draw(live_html(state, self._policy, embedded=self._embedded))
            self._card.buttons({"Cancel": self._cancel, "Close": self._close}, hint="of this job")
            self._offer(state)

    def flush(self) -> None:
        """A batch of events is through."""
        if self._drawn != self._transcript.version:
            self._drawn = self._transcript.version
            self._card.outputs(self._transcript.latest())

    def _run(self, watcher: Watcher) -> None:
        try:
            self.state(self.job.state())
            while self._watcher is watcher and not watcher.show(self, 0.5):
                pass
        except CodeExecError as err:
            # the broker is away, or the job has expired; the panel follows again when it can
            self._say(str(err))
            watcher.leave()
            if self._watcher is watcher:
                self._watcher = None
            return
        if self._watcher is watcher and watcher.final is not None:
            self._finish(watcher)

    def _finish(self, watcher: Watcher) -> None:
        state, result = watcher.final, watcher.result
        if state is None or result is None:
            return
        self.ended, self._state = True, state
        if result.error is not None and state.status is not Status.CANCELLED:
            self._transcript.error(result.error.ename, result.error.evalue, list(result.error.traceback))
        self.flush()
        self._card.draw(self._ended_html(state))
        self._card.buttons({"Run again": lambda: self._again(self.job), "Edit": self._take, "Close": self._close})
        self._offer(state)
        self._say("")

    def _ended_html(self, state: JobState) -> str:
        return render.card_html(state, live=True, notes=[*render.advice(state), *self._policy.notes])

    def _cancel(self) -> None:
        try:
            self.job.cancel()
        except CodeExecError as err:
            self._say(str(err))

    def _take(self) -> None:
        if self._state is not None:
            self._edit(self._state, self._options(self._state))
        # a pressed button stays disabled until it is offered anew
        self._card.buttons({})
        self._card.buttons({"Run again": lambda: self._again(self.job), "Edit": self._take, "Close": self._close})

    def _offer(self, state: JobState) -> None:
        source = f"{options_line.MAGIC} {self._options(state)}\n{state.code}"
        controls.draw(self._link, new_cell(source, "Copy into a new cell"))

    def _options(self, state: JobState) -> str:
        """The options with which the job was submitted, read once a run: an edited run has those of the first one."""
        if self._line is None:
            request = self.job.connection.store.snapshot(self.job.id).request
            self._line = (
                options_line.of_request(request) if request else f"--queue {shlex.quote(one_line(state.queue))}"
            )
        return self._line

    def _say(self, text: str) -> None:
        controls.draw(self._message, theme.note(text) if text else "")


def new_cell(source: str, label: str) -> str:
    """A link with which JupyterLab makes a cell of ``source``; elsewhere it does nothing.

    A kernel can add a cell only in answer to a cell that runs, and a button is none; Lab's own command links can.
    """
    if len(source) > _LINKED:
        return ""
    # every command gets the same arguments; the first has no use for them
    commands = {"commands": ["notebook:insert-cell-below", "notebook:replace-selection"], "args": {"text": source}}
    arguments = html.escape(json.dumps(commands), quote=True)
    return (
        '<a class="cxm-link" role="button" tabindex="0" data-commandlinker-command="apputils:run-all-enabled" '
        f'data-commandlinker-args="{arguments}">{theme.escaped(label)}</a>'
    )
