"""``%remote_status``, ``_attach``, ``_wait``, ``_cancel``, ``_jobs``: come back to jobs."""

from __future__ import annotations

import sys
import time
from collections import Counter
from typing import TYPE_CHECKING

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_magic, magics_class

from codeexec_magic.contract import Status
from codeexec_magic.display import render, tables
from codeexec_magic.display.card_slot import publish_card
from codeexec_magic.display.parent_cell import ParentCell
from codeexec_magic.display.progress_line import ProgressLine
from codeexec_magic.display.sanitize import HtmlMode, Policy
from codeexec_magic.display.theme import WORDS, plural, seconds
from codeexec_magic.errors import JobNotFound
from codeexec_magic.magics import exceptions, options
from codeexec_magic.magics.session import Session

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from codeexec_magic.job import Job
    from codeexec_magic.store import JobState

_ID_HELP = "task id, its first characters, a variable that holds a Job, or last"


#: how often waiting looks again (seconds)
_POLL_S = 0.1


@magics_class
class RemoteJobMagics(Magics):
    """Line magics that take the id of a job."""

    def __init__(self, shell: InteractiveShell, session: Session) -> None:
        super().__init__(shell=shell)
        self.session = session

    @options.magic(line_magic, options.option("task", nargs="?", default="last", help=_ID_HELP))
    def remote_status(self, line: str) -> None:
        """Show where a job stands."""
        args = options.parse(self.remote_status, options.split(line))
        with self.session.one_line_errors():
            state = self.session.find(args.task).state()
        publish_card(ParentCell(self.session.shell), state, Policy())

    @options.magic(
        line_magic,
        options.option("task", nargs="?", default="last", help=_ID_HELP),
        options.option("--html", choices=[str(mode) for mode in HtmlMode], help="how HTML is shown"),
        options.option("--trust", dest="html", action="store_const", const="trust", help="same as --html trust"),
    )
    def remote_attach(self, line: str) -> None:
        """Show all output of a job from its start, then live until it ends. Stop leaves; the job goes on."""
        args = options.parse(self.remote_attach, options.split(line))
        with self.session.one_line_errors():
            job = self.session.remember(self.session.find(args.task))
            self.session.wait_here(job, Policy(HtmlMode(args.html or "clean")), on_interrupt="leave")

    @options.magic(
        line_magic,
        options.option("tasks", nargs="*", help=f"{_ID_HELP}; default: all that run behind their cells"),
        options.option("--timeout", type=options.duration, help="seconds to wait at most"),
    )
    def remote_wait(self, line: str) -> None:
        """Wait for one, some or all jobs. Fails if one of them did."""
        args = options.parse(self.remote_wait, options.split(line))
        with self.session.one_line_errors():
            jobs = [self.session.find(task) for task in args.tasks] or list(self.session.unawaited.values())
            if not jobs:
                print("no job to wait for")
                return
            ended = self._wait(jobs, args.timeout)
            self.session.wait_for_followers([job.id for job in jobs])
            states = [job.state() for job in jobs]
            ParentCell(self.session.shell).publish(
                {"text/html": tables.jobs_html(states), "text/plain": tables.jobs_text(states)}
            )
            for state in states:
                if state.done:
                    self.session.unawaited.pop(state.id, None)
            if not ended:
                raise UsageError(f"not all jobs ended within {args.timeout:g} s; they go on")
            self._raise_first(jobs)

    @options.magic(line_magic, options.option("tasks", nargs="*", default=["last"], help=_ID_HELP))
    def remote_cancel(self, line: str) -> None:
        """Cancel jobs; those that have ended stay as they are."""
        args = options.parse(self.remote_cancel, options.split(line))
        with self.session.one_line_errors():
            for task in args.tasks:
                job = self.session.find(task)
                before = job.status
                status = before if before.terminal else job.cancel()
                if before.terminal:
                    outcome = f"had already ended ({WORDS[status][1].lower()})"
                else:
                    outcome = "cancelled" if status is Status.CANCELLED else "is being cancelled"
                print(f"task {render.short(job.id)} {outcome}")

    @options.magic(
        line_magic,
        options.option("-n", "--limit", type=options.count, default=20, help="how many (default 20)"),
        options.option("-q", "--queue", metavar="NAME", help="only this queue"),
        options.option("--status", choices=[str(status) for status in Status], help="only these"),
    )
    def remote_jobs(self, line: str) -> None:
        """List the latest jobs of the cluster, newest first."""
        args = options.parse(self.remote_jobs, options.split(line))
        with self.session.one_line_errors():
            states = [
                state
                for state in self.session.client.jobs(limit=max(args.limit, 200))
                if args.queue in (None, state.queue) and args.status in (None, str(state.status))
            ][: args.limit]
        ParentCell(self.session.shell).publish(
            {"text/html": tables.jobs_html(states), "text/plain": tables.jobs_text(states)}
        )

    def _wait(self, jobs: list[Job], timeout: float | None) -> bool:
        """Wait, with a progress line where somebody sees it; whether all ended."""
        line, started = ProgressLine(ParentCell(self.session.shell)), time.monotonic()
        waiting = {job.id: job for job in jobs}
        try:
            while True:
                states: list[JobState] = []
                for job in list(waiting.values()):
                    try:
                        states.append(job.state())
                    except JobNotFound:
                        del waiting[job.id]
                waiting = {state.id: waiting[state.id] for state in states if not state.done}
                passed = time.monotonic() - started
                if not waiting or (timeout is not None and passed >= timeout):
                    return not waiting
                line.show(_progress(len(jobs), [state for state in states if not state.done], passed))
                time.sleep(_POLL_S)
        finally:
            line.clear()

    def _raise_first(self, jobs: list[Job]) -> None:
        errors = [error for job in jobs if (error := exceptions.failure(job.result(5.0))) is not None]
        if errors:
            if len(jobs) > 1:
                print(f"{len(errors)} of {plural(len(jobs), 'job')} failed", file=sys.stderr)
            raise errors[0]


def _progress(total: int, going: list[JobState], passed: float) -> str:
    counts = Counter(state.status for state in going)
    parts = [f"{number} {WORDS[status][1].lower()}" for status, number in counts.items()]
    return f"waiting for {plural(total, 'job')}: {total - len(going)} done, {', '.join(parts)} · {seconds(passed)}"
