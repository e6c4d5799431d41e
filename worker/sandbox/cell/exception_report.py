"""What went wrong in a cell, as capped text and as what the kernel's part in it was."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from typing import Any, Final

from .soft_limit import SoftTimeLimitExceeded

_EVALUE: Final = 16 << 10
#: what the function that asked for a process calls
_FORKS: Final = frozenset({"fork", "forkpty", "_fork_exec", "fork_exec", "posix_spawn", "posix_spawnp"})
#: what the function that asked for a pseudo-terminal calls
_TERMINALS: Final = frozenset({"openpty", "forkpty"})
#: a connection that a cell without a network cannot have
_UNCONNECTED: Final = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EAFNOSUPPORT, errno.ECONNREFUSED})
#: exceptions of one chain that are looked at
_CHAIN: Final = 32
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
        if len(line) >= room:
            kept.append(line[:room] + "\n... traceback cut")
            break
        kept.append(line)
        room -= len(line) + 1  # lines without a character cost something, too
    name = str(getattr(etype, "__name__", etype))[:256]
    # the class tells, not its name: a cell may call its own exception MemoryError
    builtin = [kind.__name__ for kind in (MemoryError, SoftTimeLimitExceeded) if _is(etype, kind)]
    if _task_refused(evalue, text):
        builtin.append("TaskRefused")
    if any(_unconnected(one) for one in _chain(evalue)):
        builtin.append("NoNetwork")
    if any(_terminal_refused(one) for one in _chain(evalue)):
        builtin.append("NoTerminal")
    return {"ename": name, "evalue": _cut(text), "traceback": kept, "kinds": builtin, "errno": _errno(evalue)}


def _task_refused(error: Any, text: str) -> bool:
    """Whether the error is that of a fork or of a thread's start; a socket that would block has the same number."""
    if isinstance(error, RuntimeError):
        return text.startswith("can't start new thread")
    return _errno(error) == errno.EAGAIN and not _FORKS.isdisjoint(_calls(error))


def _chain(error: Any) -> Iterator[BaseException]:
    """The exception and those that it was raised from or after; libraries wrap the error of a socket in their own."""
    for _ in range(_CHAIN):
        if not isinstance(error, BaseException):
            return
        yield error
        # by the built-in class: a cell's own may give these names another meaning
        cause = BaseException.__dict__["__cause__"].__get__(error)
        error = cause if cause is not None else BaseException.__dict__["__context__"].__get__(error)


def _unconnected(error: BaseException) -> bool:
    """Whether a name was not resolved or an address not reached."""
    return isinstance(error, socket.gaierror) or _errno(error) in _UNCONNECTED


def _terminal_refused(error: BaseException) -> bool:
    """Whether a pseudo-terminal was asked for: by :mod:`pty`, by :mod:`os`, or by opening the device."""
    if not isinstance(error, OSError):
        return False
    if error.filename is None:
        return str(error) == "out of pty devices" or not _TERMINALS.isdisjoint(_calls(error))
    return bool(error.filename == "/dev/ptmx")


def _calls(error: Any) -> tuple[str, ...]:
    """Names that the function which raised the exception uses."""
    trace = getattr(error, "__traceback__", None)
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return () if trace is None else trace.tb_frame.f_code.co_names


def _is(etype: Any, kind: type) -> bool:
    return isinstance(etype, type) and issubclass(etype, kind)


def _errno(error: Any) -> int | None:
    number = getattr(error, "errno", None) if isinstance(error, OSError) else None
    return number if isinstance(number, int) else None


def _cut(text: str) -> str:
    return text if len(text) <= _EVALUE else text[:_EVALUE] + f"... ({len(text)} characters)"
