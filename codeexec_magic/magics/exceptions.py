"""What a cell that waited raises: the remote error as if it had happened here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from codeexec_magic.contract import ExecutionResult, Reason, Status
from codeexec_magic.display import render
from codeexec_magic.display.theme import WORDS, plural
from codeexec_magic.errors import BadRequest, CodeSyntaxError, JobFailed, RemoteCancelled, RemoteError
from codeexec_magic.hostile_text import one_line, plain_text, printed_text

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

# bold for what is ours: no colour of the palette can be read on the error box in light and in dark themes
_RED, _BOLD, _END = "\x1b[31m", "\x1b[1m", "\x1b[0m"


class _Cancelled(RemoteCancelled):
    """The job was cancelled."""

    def _render_traceback_(self) -> list[str]:
        return [f"{_BOLD}RemoteCancelled{_END}: {self.args[0]}"]


class _Detached(_Cancelled):
    """The job goes on without this cell."""

    def _render_traceback_(self) -> list[str]:
        return [f"{_BOLD}Detached{_END}: {self.args[0]}"]


class _Failed(JobFailed):
    """The job ended in a way for which there is no exception."""

    def _render_traceback_(self) -> list[str]:
        return [f"{_RED}JobFailed{_END}: {self.args[0]}"]


_Cancelled.__name__, _Detached.__name__, _Failed.__name__ = "RemoteCancelled", "Detached", "JobFailed"


class _Raised(RemoteError):
    """The cell raised; shown with the remote traceback."""

    def __init__(self, ename: str, evalue: str, traceback: list[str], result: ExecutionResult | None = None) -> None:
        super().__init__(ename, evalue, traceback, result)
        # what an exception of this name would hold
        self.args = (evalue,) if evalue else ()

    def __str__(self) -> str:
        return plain_text(self.evalue)

    def _render_traceback_(self) -> list[str]:
        lines = [printed_text(line) for line in self.traceback]
        if not lines:
            lines = [f"{_RED}{one_line(self.ename)}{_END}: {one_line(self.evalue, 2000)}"]
        limit = _limit_line(self.result)
        return [*lines, f"{_BOLD}{limit}{_END}"] if limit else lines


class _BadSyntax(BadRequest):
    """The cell does not parse."""

    # not a SyntaxError itself: IPython would print where in our code it was raised

    def __init__(self, message: str, lines: list[str]) -> None:
        super().__init__(message)
        self._lines = lines

    def _render_traceback_(self) -> list[str]:
        return self._lines


_BadSyntax.__name__ = "SyntaxError"


def bad_syntax(error: CodeSyntaxError, shell: InteractiveShell) -> BadRequest:
    """A cell that does not parse, shown as Python shows it, with the user's line."""
    message = str(error).partition(" (line ")[0]
    plain = SyntaxError(message, ("remote cell", error.lineno, error.offset, error.text))
    return _BadSyntax(message, shell.SyntaxTB.structured_traceback(SyntaxError, plain, cast("Any", [])))


def failure(result: ExecutionResult) -> JobFailed | None:
    """The exception for an outcome; None for success."""
    if result.success:
        return None
    if result.status is Status.CANCELLED:
        return cancelled(result.task_id, result)
    if result.error is not None:
        return raised(result)
    what = _limit_line(result) or result.verdict or render.REASONS.get(result.reason, "") or str(result.reason)
    return _Failed(f"task {render.short(result.task_id)} {_how(result)}: {one_line(what, 400)}", result)


def raised(result: ExecutionResult) -> RemoteError:
    """An exception whose class has the remote one's name, so that tools which compare names see the real one."""
    assert result.error is not None
    name = result.error.ename.rpartition(".")[2]
    if not name.isidentifier() or not name.isprintable() or len(name) > 80:
        name = "RemoteError"
    kind: type[_Raised] = type(name, (_Raised,), {"__doc__": _Raised.__doc__})
    return kind(name, result.error.evalue, list(result.error.traceback), result)


def cancelled(task_id: str, result: ExecutionResult | None = None, *, pending: bool = False) -> RemoteCancelled:
    """The job was cancelled, or is about to be."""
    how = "is being cancelled" if pending else "cancelled"
    return _Cancelled(f"task {render.short(task_id)} {how}", result)


def stopped_late(task_id: str, status: Status) -> RemoteCancelled:
    """Stop came when there was nothing left to cancel."""
    return _Cancelled(f"task {render.short(task_id)} had already ended ({WORDS[status][1].lower()})")


def detached(task_id: str) -> RemoteCancelled:
    """The user left; the job goes on."""
    name = render.short(task_id)
    return _Detached(f"task {name} goes on: %remote_attach {name} shows it, %remote_cancel {name} ends it")


def _how(result: ExecutionResult) -> str:
    return "gave up" if result.status is Status.DEAD_LETTERED else "failed"


def _limit_line(result: ExecutionResult | None) -> str:
    """One line of ours, where a limit or a breakdown ended the cell."""
    if result is None or result.reason in (Reason.OK, Reason.ERROR, Reason.CANCELLED):
        return ""
    line = one_line(result.verdict or render.REASONS.get(result.reason, ""), 400)
    if result.status is Status.DEAD_LETTERED:
        runs = plural(max(1, len(result.attempts)), "run")
        line = f"dead-lettered after {runs}: {line}"
    return line
