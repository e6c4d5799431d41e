"""What went wrong in a cell, as capped text and as what the kernel's part in it was."""

from __future__ import annotations

import errno
from typing import Any, Final

from .soft_limit import SoftTimeLimitExceeded

_EVALUE: Final = 16 << 10
#: what the function that asked for a process calls
_FORKS: Final = frozenset({"fork", "forkpty", "_fork_exec", "fork_exec", "posix_spawn", "posix_spawnp"})
_TRACEBACK: Final = 128 << 10


def describe(etype: Any, evalue: Any, lines: Any) -> dict[str, Any]:
    """An exception as capped text."""
    try:
        text = str(evalue)
    except BaseException as err:
        text = f"<str() of the exception failed: {type(err).__name__}>"
    kept, room = [], _TRACEBACK
    for line in lines:
        line = str(line)
        if len(line) > room:
            kept.append(line[:room] + "\n... traceback cut")
            break
        kept.append(line)
        room -= len(line)
    name = str(getattr(etype, "__name__", etype))[:256]
    # the class tells, not its name: a cell may call its own exception MemoryError
    builtin = [kind.__name__ for kind in (MemoryError, SoftTimeLimitExceeded) if _is(etype, kind)]
    if _task_refused(evalue, text):
        builtin.append("TaskRefused")
    return {"ename": name, "evalue": _cut(text), "traceback": kept, "kinds": builtin, "errno": _errno(evalue)}


def _task_refused(error: Any, text: str) -> bool:
    """Whether the error is that of a fork or of a thread's start; a socket that would block has the same number."""
    if isinstance(error, RuntimeError):
        return text.startswith("can't start new thread")
    trace = getattr(error, "__traceback__", None)
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return _errno(error) == errno.EAGAIN and trace is not None and not _FORKS.isdisjoint(trace.tb_frame.f_code.co_names)


def _is(etype: Any, kind: type) -> bool:
    return isinstance(etype, type) and issubclass(etype, kind)


def _errno(error: Any) -> int | None:
    number = getattr(error, "errno", None) if isinstance(error, OSError) else None
    return number if isinstance(number, int) else None


def _cut(text: str) -> str:
    return text if len(text) <= _EVALUE else text[:_EVALUE] + f"... ({len(text)} characters)"
