"""What the magics of one kernel share: its client, the jobs it started, and the cards that follow them."""

from __future__ import annotations

import contextlib
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError

from codeexec_magic.client import Client
from codeexec_magic.contract import Status
from codeexec_magic.display import render
from codeexec_magic.display.background_view import BackgroundView
from codeexec_magic.display.card_slot import publish_card
from codeexec_magic.display.live_card import available
from codeexec_magic.display.notebook_view import NotebookView
from codeexec_magic.display.parent_cell import ParentCell
from codeexec_magic.display.sanitize import HtmlMode, Policy
from codeexec_magic.display.terminal_view import TerminalView
from codeexec_magic.errors import BadRequest, BadSetting, CodeExecError, CodeSyntaxError, JobNotFound
from codeexec_magic.hostile_text import one_line
from codeexec_magic.job import Job
from codeexec_magic.magics import exceptions
from codeexec_magic.magics.watcher import SilentView, Watch
from codeexec_magic.settings import Settings

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from codeexec_magic.contract import ExecutionResult


#: how long Stop waits for the worker to confirm (seconds)
_STOP_S = 5.0
#: how long after an interrupt a kernel may hear that it is to end (seconds)
_SHUTDOWN_S = 0.3


class Session:
    """One per shell."""

    def __init__(self, shell: InteractiveShell) -> None:
        self.shell = shell
        #: jobs started here, by id, oldest first
        self.jobs: dict[str, Job] = {}
        #: those no cell has waited for yet
        self.unawaited: dict[str, Job] = {}
        self._client: Client | None = None
        self._followers: dict[str, threading.Thread] = {}

    @property
    def client(self) -> Client:
        """The client; a new one when the environment names another cluster than before.

        Raises:
            BadSetting: a variable makes no sense.
        """
        settings = Settings.from_env()
        if self._client is None or self._client.settings != settings:
            self._client = Client(settings=settings, progress=self._progress())
        return self._client

    @property
    def known_client(self) -> Client | None:
        """The client if there is one already: for what must not start a cluster."""
        return self._client

    def close(self) -> None:
        """Let go of the cluster."""
        if self._client is not None:
            self._client.close()

    def remember(self, job: Job) -> Job:
        """Note a job as the last one: ``_remote``, ``last``."""
        self.jobs.pop(job.id, None)
        self.jobs[job.id] = job
        self.shell.push({"_remote": job}, interactive=False)
        return job

    def find(self, task_id: str) -> Job:
        """The job of this id, of an id that starts so, of this variable, or the ``last`` one.

        Raises:
            UsageError: there is none.
        """
        named = self.shell.user_ns.get(task_id)
        if isinstance(named, Job):
            return named
        if task_id == "last":
            if self.jobs:
                return next(reversed(self.jobs.values()))
            latest = self.client.jobs(limit=1)
            if not latest:
                raise UsageError("no job yet: run a cell with %%remote_exec first")
            task_id = latest[0].id
        try:
            return self.client.job(task_id)
        except JobNotFound as err:
            raise UsageError(f"{err}; %remote_jobs lists those there are") from None

    def drop(self, task_id: str, parent_cell: ParentCell) -> None:
        """Forget a dead letter; the cards of its job that this notebook shows say so.

        Args:
            task_id: the dead letter.
            parent_cell: a cell of the notebook.

        Raises:
            JobNotFound: there is none.
        """
        self.client.drop(task_id)
        with contextlib.suppress(JobNotFound):
            if parent_cell.kernel is not None:
                publish_card(parent_cell, self.client.job(task_id).state(), Policy(), update=True)

    def wait_here(self, job: Job, policy: Policy, *, on_interrupt: str) -> ExecutionResult:
        """Show a job in the running cell until it ends.

        Raises:
            JobFailed: it did not succeed.
            KeyboardInterrupt: the user stopped it, or left.
        """
        parent_cell = ParentCell(self.shell)
        view: NotebookView | TerminalView
        if parent_cell.kernel is None:
            view = TerminalView(parent_cell, policy, job.id)
        else:
            view = NotebookView(
                parent_cell, policy, job.id, lambda: self._quietly(job.cancel), embedded=self.client.embedded
            )
        watch = Watch(job)
        try:
            watch.show(view)
        except KeyboardInterrupt:
            if on_interrupt != "cancel":
                self._leave(watch, view, parent_cell, stay=on_interrupt == "detach")
                raise exceptions.detached(job.id) from None
            if parent_cell.shutting_down(_SHUTDOWN_S):
                # nobody said Stop: the job goes on, and %remote_attach finds it from the next kernel
                watch.leave()
                raise exceptions.detached(job.id) from None
            raise self._stop(watch, view) from None
        except BaseException:
            watch.leave()
            view.leave()
            raise
        assert watch.result is not None
        assert watch.final is not None
        view.finish(watch.final)
        if watch.final.status is Status.DEAD_LETTERED:
            self._offer_dead_letter(parent_cell, job)
        error = exceptions.failure(watch.result)
        if error is not None:
            raise error
        return watch.result

    def follow_behind(
        self, job: Job, policy: Policy, parent_cell: ParentCell, done: Callable[[ExecutionResult], object] | None = None
    ) -> None:
        """Show a job below a cell that does not wait for it, if somebody may be looking there.

        A client that runs notebooks unattended takes what comes while the cell runs and drops what comes later, so
        that showing anything would make its outcome a matter of luck; a terminal has one place to write to.
        """
        self.unawaited[job.id] = job
        view: NotebookView | BackgroundView | SilentView
        if not parent_cell.attended:
            view = SilentView()
        elif available():
            view = BackgroundView(
                parent_cell, policy, job.id, lambda: self._quietly(job.cancel), embedded=self.client.embedded
            )
        else:
            view = NotebookView(parent_cell, policy, job.id, lambda: None)
        if done is not None or not isinstance(view, SilentView):
            self._run_behind(Watch(job), view, parent_cell, done)

    def wait_for_followers(self, ids: list[str], timeout: float = 2.0) -> None:
        """Give the cards of ended jobs the time to be drawn to their end."""
        for task_id in ids:
            thread = self._followers.get(task_id)
            if thread is not None:
                thread.join(timeout)

    def _run_behind(
        self,
        watch: Watch,
        view: NotebookView | BackgroundView | SilentView,
        parent_cell: ParentCell,
        done: Callable[[ExecutionResult], object] | None = None,
    ) -> None:
        def follow() -> None:
            try:
                watch.show(view)
                if watch.result is None or watch.final is None:
                    return
                if done is not None:
                    done(watch.result)
                view.finish(watch.final, exceptions.failure(watch.result))
            except CodeExecError as err:
                sys.stderr.write(f"lost sight of task {render.short(watch.job.id)}: {one_line(err, 300)}\n")
                return
            finally:
                self._followers.pop(watch.job.id, None)
            if watch.final.status is Status.DEAD_LETTERED:
                self._offer_dead_letter(parent_cell, watch.job)

        thread = threading.Thread(
            target=parent_cell.run, args=(follow,), name=f"codeexec-card-{watch.job.id[:8]}", daemon=True
        )
        self._followers[watch.job.id] = thread
        thread.start()

    def _leave(self, watch: Watch, view: NotebookView | TerminalView, parent_cell: ParentCell, *, stay: bool) -> None:
        """The user pressed Stop and the job goes on: below the cell (``stay``), or out of sight."""
        if stay:
            self.unawaited[watch.job.id] = watch.job
        if stay and isinstance(view, NotebookView):
            self._run_behind(watch, view, parent_cell)
        else:
            watch.leave()
            view.leave()

    def _stop(self, watch: Watch, view: NotebookView | TerminalView) -> BaseException:
        """The user pressed Stop: cancel, and wait a little for what the worker says; a second Stop leaves at once."""
        job, status = watch.job, None
        try:
            try:
                status = job.cancel()
                watch.show(view, _STOP_S)
            except CodeExecError as err:
                sys.stderr.write(f"could not cancel: {one_line(err, 300)}\n")
            watch.leave()
            view.finish(watch.final or job.state())
        except (KeyboardInterrupt, CodeExecError):
            watch.leave()
            view.leave()
            return exceptions.cancelled(job.id, pending=True)
        if watch.result is not None and watch.result.status is not Status.CANCELLED:
            return exceptions.stopped_late(job.id, watch.result.status)
        return exceptions.cancelled(
            job.id, watch.result, pending=watch.result is None and status is not Status.CANCELLED
        )

    def _offer_dead_letter(self, parent_cell: ParentCell, job: Job) -> None:
        if parent_cell.attended and available():
            from codeexec_magic.display.dead_letter import DeadLetterActions

            DeadLetterActions(
                parent_cell,
                job.id,
                requeue=lambda code: self.remember(self.client.requeue(job.id, code)),
                drop=lambda: self.drop(job.id, parent_cell),
                code=lambda: self.client.dead_letter(job.id).code,
                follow=lambda again: self.follow_behind(again, Policy(HtmlMode.CLEAN), parent_cell),
            ).show()

    @contextlib.contextmanager
    def one_line_errors(self) -> Iterator[None]:
        """Show our own errors as one line, without a traceback of ours.

        Raises:
            UsageError: for what the user asked for.
            CodeExecError: anything else, made to render as one line; bad syntax with the user's line.
        """
        try:
            yield
        except CodeSyntaxError as err:
            raise exceptions.bad_syntax(err, self.shell) from None
        except (BadRequest, BadSetting, JobNotFound) as err:
            if hasattr(err, "_render_traceback_"):
                raise
            raise UsageError(str(err)) from None
        except CodeExecError as err:
            if not hasattr(err, "_render_traceback_"):
                name, text = type(err).__name__, one_line(err, 1000)
                err._render_traceback_ = lambda: [f"\x1b[31m{name}\x1b[0m: {text}"]  # type: ignore[attr-defined]
            raise

    @staticmethod
    def _quietly(action: Callable[[], object]) -> None:
        """For buttons: there is no cell that could show an exception; the card goes on telling how things are."""
        with contextlib.suppress(CodeExecError):
            action()

    def _progress(self) -> Callable[[str], None]:
        """Tell how the embedded cluster starts, where somebody can see it, and leave nothing of it in the notebook."""
        display_id = uuid.uuid4().hex
        started = False

        def tell(line: str) -> None:
            nonlocal started
            line, parent_cell = one_line(line, 400), ParentCell(self.shell)
            if parent_cell.kernel is None:
                print(line, flush=True)
            elif parent_cell.attended:
                parent_cell.publish({"text/plain": line}, display_id, update=started)
                if not started:
                    self._clear_after_cell(parent_cell, display_id)
                started = True

        return tell

    def _clear_after_cell(self, parent_cell: ParentCell, display_id: str) -> None:
        def clear(*_: Any) -> None:
            events.unregister("post_run_cell", clear)
            parent_cell.publish({}, display_id, update=True)

        events: Any = self.shell.events
        events.register("post_run_cell", clear)
