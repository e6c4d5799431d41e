"""What kernel, broker and worker promise each other: names, states and the JSON that crosses between them.

Standard library only and no I/O. Both sides import this module; it imports neither.
Wire objects are frozen dataclasses with ``as_dict`` and ``from_dict``; ``from_dict`` validates and raises
:class:`~codeexec_magic.errors.DecodeError`, so bad bytes never surface as a ``KeyError`` somewhere deep inside.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import NoneType
from typing import Any, Final

from codeexec_magic.errors import DecodeError, NoValue
from codeexec_magic.hostile_text import one_line, plain_text
from codeexec_magic.limits import Limits, known_fields
from codeexec_magic.values.ref import FileRef, ValueRef, decode_refs

#: version of every JSON object below; a reader refuses a version it does not know
SCHEMA_VERSION: Final = 1
#: the Celery task that runs a cell
TASK_NAME: Final = "codeexec.execute"

QUEUE_DEFAULT: Final = "code_execution"
QUEUE_HEAVY: Final = "code_execution_heavy"
#: the queues every deployment has; workers may announce more
QUEUES: Final = (QUEUE_DEFAULT, QUEUE_HEAVY)
NAMESPACE_DEFAULT: Final = "default"
#: the seed's limits for each queue of every deployment
DEFAULT_LIMITS: Final[Mapping[str, Limits]] = {
    QUEUE_DEFAULT: Limits(),
    QUEUE_HEAVY: Limits(soft_s=240.0, hard_s=300.0, cpu_s=300.0),
}

#: one event is one JSON object in the Jupyter messaging protocol's terms: ``{"type": msg_type, **content}``.
#: These are what a cell may emit; ``status`` and ``end`` are added by the job store.
OUTPUT_EVENTS: Final = frozenset(
    {"stream", "display_data", "update_display_data", "execute_result", "clear_output", "truncated"}
)


class Status(StrEnum):
    """Where a job stands. The last four are terminal."""

    QUEUED = "queued"  #: waiting for a worker
    RUNNING = "running"  #: a worker holds the lease
    RETRYING = "retrying"  #: an attempt failed; the next one is due at a known time
    SUCCEEDED = "succeeded"
    FAILED = "failed"  #: ended, and running it again would not help
    DEAD_LETTERED = "dead_lettered"  #: gave up after the last retry or the third worker death
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        """Whether nothing further will happen to the job by itself."""
        return self in _TERMINAL


_TERMINAL: Final = frozenset({Status.SUCCEEDED, Status.FAILED, Status.DEAD_LETTERED, Status.CANCELLED})


class Reason(StrEnum):
    """Why one attempt ended, decided by the sandbox's parent from what it saw, never from what the cell wrote."""

    OK = "ok"  #: ended by itself, exit 0, no limit event
    ERROR = "error"  #: the cell raised
    EXIT = "exit"  #: sys.exit(n > 0) or os._exit
    TIMEOUT = "timeout"  #: soft or hard wall limit
    CPU = "cpu"  #: processor time limit
    MEMORY = "memory"  #: the tree's memory limit, or MemoryError
    DISK = "disk"  #: file size, disk or inode limit
    OUTPUT = "output"  #: output flood
    SIGNAL = "signal"  #: killed by a signal of its own doing
    CANCELLED = "cancelled"  #: the user said so
    INTERNAL = "internal"  #: the sandbox could not be set up, or broke
    WORKER_LOST = "worker_lost"  #: the worker died under it


#: reasons that the default policy retries; ``worker_lost`` runs again at once and is counted apart
RETRIED: Final = frozenset({Reason.TIMEOUT, Reason.CPU, Reason.MEMORY, Reason.INTERNAL})


@dataclass(frozen=True)
class ExecutionRequest:
    """One cell to run, as the client submits it and the worker receives it."""

    task_id: str
    code: str
    queue: str = QUEUE_DEFAULT
    limits: Limits = field(default_factory=Limits)
    retries: int = 3  #: runs after the first one, for the reasons in RETRIED
    retry_waits_s: tuple[float, ...] = (5.0, 25.0, 125.0)  #: before +-20 % jitter; the last one repeats
    cache: str = "use"  #: ``use``, ``refresh`` (run, then store) or ``off``
    network: bool = False
    inputs: Mapping[str, ValueRef] = field(default_factory=dict)  #: variables of the cell
    outputs: tuple[str, ...] = ()  #: names whose values come back
    uploads: tuple[FileRef, ...] = ()  #: files of the cell's work folder
    downloads: tuple[str, ...] = ()  #: patterns of files that come back
    label: str = ""  #: what monitors show instead of the code

    @property
    def stored_values(self) -> list[ValueRef]:
        """Variables and files that are in the content store, and must stay there until the job has ended."""
        refs = [*self.inputs.values(), *(file.ref for file in self.uploads)]
        return [ref for ref in refs if ref.stored]

    def as_dict(self) -> dict[str, Any]:
        """The wire form."""
        data = dict(vars(self))
        data["limits"] = self.limits.as_dict()
        data["inputs"] = {name: ref.as_dict() for name, ref in self.inputs.items()}
        data["outputs"] = list(self.outputs)
        data["uploads"] = [file.as_dict() for file in self.uploads]
        data["downloads"] = list(self.downloads)
        data["retry_waits_s"] = list(self.retry_waits_s)
        return {"schema": SCHEMA_VERSION, **data}

    @classmethod
    def from_dict(cls, data: Any) -> ExecutionRequest:
        """Decode and validate.

        Raises:
            DecodeError: anything missing, unknown or of the wrong type.
        """
        known = known_fields(cls, _versioned(data, "request"), "request")
        for name, kind in _REQUEST_TYPES.items():
            if name in known and (
                not isinstance(known[name], kind) or isinstance(known[name], bool) is not (kind is bool)
            ):
                raise DecodeError(f"request field {name} has the wrong type: {type(known[name]).__name__}")
        if "task_id" not in known or "code" not in known:
            raise DecodeError("request lacks task_id or code")
        if known.get("cache", "use") not in ("use", "refresh", "off"):
            raise DecodeError(f"request field cache must be use, refresh or off, not {known['cache']!r}")
        known["limits"] = Limits.from_dict(known.get("limits", {}))
        known["inputs"] = decode_refs(known.get("inputs", {}), "request field inputs")
        known["outputs"] = _texts(known.get("outputs", ()), "outputs")
        known["uploads"] = tuple(FileRef.from_dict(one) for one in known.get("uploads", ()))
        known["downloads"] = _texts(known.get("downloads", ()), "downloads")
        waits = known.get("retry_waits_s", (5.0, 25.0, 125.0))
        if not waits or not all(_is_number(wait) and 0 <= wait <= 86_400 for wait in waits):
            raise DecodeError("request field retry_waits_s must be numbers of seconds from 0 to 86400")
        known["retry_waits_s"] = tuple(float(wait) for wait in waits)
        if not 0 <= known.get("retries", 3) <= 100:
            raise DecodeError("request field retries must be from 0 to 100")
        return cls(**known)


_REQUEST_TYPES: Final[Mapping[str, type]] = {
    "task_id": str,
    "code": str,
    "queue": str,
    "limits": dict,
    "retries": int,
    "retry_waits_s": list,
    "cache": str,
    "network": bool,
    "inputs": dict,
    "outputs": list,
    "uploads": list,
    "downloads": list,
    "label": str,
}


def _texts(items: Any, name: str) -> tuple[str, ...]:
    if not all(isinstance(item, str) and len(item) <= 1000 for item in items):
        raise DecodeError(f"request field {name} must be a list of texts")
    return tuple(items)


@dataclass(frozen=True)
class ErrorInfo:
    """The exception that ended a cell, as text."""

    ename: str
    evalue: str
    traceback: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The traceback, or without one the exception's line, without colours and control characters."""
        return plain_text("\n".join(self.traceback) or f"{self.ename}: {self.evalue}".removesuffix(": "))

    def as_dict(self) -> dict[str, Any]:
        """The wire form."""
        return {"ename": self.ename, "evalue": self.evalue, "traceback": list(self.traceback)}

    @classmethod
    def from_dict(cls, data: Any) -> ErrorInfo:
        """Decode; every field becomes text.

        Raises:
            DecodeError: not a mapping with ``ename``.
        """
        if not isinstance(data, Mapping) or "ename" not in data:
            raise DecodeError("error must be an object with ename, evalue and traceback")
        lines = data.get("traceback") or []
        if not isinstance(lines, list | tuple):
            raise DecodeError("error traceback must be a list of lines")
        return cls(str(data["ename"]), str(data.get("evalue", "")), tuple(str(line) for line in lines))


@dataclass(frozen=True, repr=False)
class ExecutionResult:
    """The one recorded outcome of a job."""

    task_id: str
    code_hash: str
    success: bool
    status: Status
    reason: Reason
    returncode: int | None = None  #: exit status of the cell's process; negative for a signal
    execution_time_ms: int = 0  #: wall time of the last attempt, without queueing
    memory_used_mb: float | None = None  #: peak of the cell's process tree
    retry_count: int = 0
    timestamp: str = ""  #: end, ISO 8601, UTC, server time
    worker_id: str | None = None
    error: ErrorInfo | None = None
    verdict: str = ""  #: one line for people: which limit, the peak, the option that raises it
    cached: bool = False
    cached_age_s: float | None = None
    cached_from: str | None = None  #: task id of the run that filled the cache
    wait_time_ms: int = 0  #: from submission (or due retry) to start, backoff excluded
    queue: str = QUEUE_DEFAULT
    attempts: tuple[Mapping[str, Any], ...] = ()  #: worker, start, end, reason of each run
    limits: Mapping[str, Any] = field(default_factory=dict)
    isolation: Mapping[str, Any] = field(default_factory=dict)
    truncated: Mapping[str, Any] = field(default_factory=dict)  #: bytes dropped, by stream
    values: Mapping[str, Any] = field(default_factory=dict)  #: of the requested outputs; ValueRef until they are read
    value_problems: Mapping[str, str] = field(default_factory=dict)  #: why an output or file did not come, by name
    files: tuple[FileRef, ...] = ()  #: that came back
    left_behind: tuple[tuple[str, int], ...] = ()  #: files that the cell wrote and nobody asked for: name and size
    outputs: tuple[Mapping[str, Any], ...] = ()  #: ordered output events of the last attempt

    def __getitem__(self, name: str) -> Any:
        """The seed's results were dictionaries: ``result["stdout"]`` works as ``result.stdout`` does."""
        return self.as_dict()[name]

    @property
    def stdout(self) -> str:
        """Everything the cell wrote to standard output, in order."""
        return stream_text(self.outputs, "stdout")

    @property
    def stderr(self) -> str:
        """Everything the cell wrote to standard error, in order."""
        return stream_text(self.outputs, "stderr")

    @property
    def value(self) -> Any:
        """The last expression when it is plain data: numbers, text, None, and lists, tuples, sets and dicts of them.

        None when the cell ended in no expression.

        Raises:
            NoValue: the last expression is something else, or was too long to be shown in full.
        """
        shown = [event["data"] for event in self.outputs if event.get("type") == "execute_result"]
        return _literal(shown[-1].get("text/plain")) if shown else None

    def __repr__(self) -> str:
        line = self.error.text.rpartition("\n")[2] if self.error else self.verdict or self.reason
        why = "" if self.success else f": {one_line(line, 200)}"
        how = "from the cache" if self.cached else f"in {self.execution_time_ms:.0f} ms"
        return f"<ExecutionResult {one_line(self.task_id)} {self.status} {how}{why}>"

    def as_dict(self, *, outputs: bool = True) -> dict[str, Any]:
        """The wire form; ``stdout`` and ``stderr`` are derived from ``outputs`` and always present."""
        data = dict(vars(self))
        data["error"] = self.error.as_dict() if self.error else None
        data["attempts"] = [dict(attempt) for attempt in self.attempts]
        data["outputs"] = [dict(event) for event in self.outputs]
        for name in ("limits", "isolation", "truncated", "value_problems"):
            data[name] = dict(data[name])
        refs = getattr(self.values, "refs", self.values)
        data["values"] = {name: ref.as_dict() for name, ref in refs.items()}
        data["files"] = [file.as_dict() for file in self.files]
        data["left_behind"] = [list(one) for one in self.left_behind]
        if not outputs:
            del data["outputs"]
        return {"schema": SCHEMA_VERSION, **data, "stdout": self.stdout, "stderr": self.stderr}

    @classmethod
    def from_dict(cls, data: Any) -> ExecutionResult:
        """Decode and validate.

        Raises:
            DecodeError: anything missing or of the wrong type.
        """
        # a newer worker may add fields: ignored here, unlike in a request, where one could carry a limit
        names = cls.__dataclass_fields__
        known = {k: v for k, v in _versioned(data, "result").items() if k in names}
        for name, value in known.items():
            if not isinstance(value, _RESULT_TYPES.get(name, object)):
                raise DecodeError(f"result field {name} has the wrong type: {type(value).__name__}")
        try:
            known["status"] = Status(known["status"])
            known["reason"] = Reason(known["reason"])
            known["error"] = ErrorInfo.from_dict(known["error"]) if known.get("error") else None
            known["attempts"] = decode_attempts(known.get("attempts") or ())
            known["outputs"] = tuple(decode_event(event) for event in known.get("outputs") or ())
            known["values"] = decode_refs(known.get("values") or {}, "result field values")
            problems = known.get("value_problems") or {}
            known["value_problems"] = {str(name): str(reason) for name, reason in problems.items()}
            known["files"] = tuple(FileRef.from_dict(one) for one in known.get("files") or ())
            known["left_behind"] = tuple((str(name), int(size)) for name, size in known.get("left_behind") or ())
            return cls(**known)
        except (KeyError, TypeError, ValueError) as err:
            raise DecodeError(f"result does not follow the contract: {err}") from None


def _literal(text: Any) -> Any:
    """The data that a last expression's text stands for.

    Raises:
        NoValue: it stands for none.
    """
    with contextlib.suppress(ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        tree = ast.parse(text, mode="eval")
        # IPython shortens long containers by an ellipsis, which is a literal, too
        if not any(isinstance(node, ast.Constant) and node.value is ... for node in ast.walk(tree)):
            return ast.literal_eval(tree)
    raise NoValue(
        f"the last expression is no plain data, or too long: {one_line(text)}; name a variable in outputs=[...]"
    )


_NUMBER: Final = (int, float)
_RESULT_TYPES: Final[Mapping[str, Any]] = {
    "task_id": str,
    "code_hash": str,
    "success": bool,
    "returncode": (int, NoneType),
    "execution_time_ms": _NUMBER,
    "memory_used_mb": (*_NUMBER, NoneType),
    "retry_count": int,
    "timestamp": str,
    "worker_id": (str, NoneType),
    "verdict": str,
    "cached": bool,
    "cached_age_s": (*_NUMBER, NoneType),
    "cached_from": (str, NoneType),
    "wait_time_ms": _NUMBER,
    "queue": str,
    "attempts": (list, tuple),
    "limits": dict,
    "isolation": dict,
    "truncated": dict,
    "values": dict,
    "value_problems": dict,
    "files": (list, tuple),
    "left_behind": (list, tuple),
    "outputs": (list, tuple),
}


def decode_attempts(entries: Any) -> tuple[dict[str, Any], ...]:
    """The timeline of a job, oldest run first: each run as an object of texts.

    Raises:
        DecodeError: not a list of objects.
    """
    if not isinstance(entries, list | tuple) or not all(isinstance(entry, dict) for entry in entries):
        raise DecodeError("attempts must be a list of objects")
    return tuple({name: str(value) for name, value in entry.items()} for entry in entries)


def decode_request(text: str, task_id: str) -> ExecutionRequest:
    """The request as it stands in the record of a job.

    Args:
        text: JSON.
        task_id: the job, for the error.

    Raises:
        DecodeError: it does not follow the contract; the text names the job.
    """
    try:
        return ExecutionRequest.from_dict(json.loads(text))
    except (DecodeError, ValueError, RecursionError, OverflowError) as err:
        what = str(err) if isinstance(err, DecodeError) else "it is not JSON"
        raise DecodeError(f"the request of job {task_id} cannot be read: {what}") from None


def stream_text(events: Any, name: str) -> str:
    """The concatenated text of the ``stream`` events called ``name``."""
    return "".join(e["text"] for e in events if e.get("type") == "stream" and e.get("name") == name)


def decode_event(data: Any) -> dict[str, Any]:
    """Check the shape of one event that came from a worker or from Redis.

    Raises:
        DecodeError: not an object with a ``type``, or its known fields have the wrong type.
    """
    if not isinstance(data, dict) or not isinstance(data.get("type"), str):
        raise DecodeError("event must be an object with a type")
    kind = data["type"]
    if kind == "stream" and not (isinstance(data.get("text"), str) and data.get("name") in ("stdout", "stderr")):
        raise DecodeError("stream event needs a name (stdout or stderr) and text")
    if kind in ("display_data", "update_display_data", "execute_result") and not isinstance(data.get("data"), dict):
        raise DecodeError(f"{kind} event needs a MIME bundle")
    return data


def code_hash(code: str) -> str:
    """``sha256:`` and the hex digest of the code's UTF-8 bytes, and of nothing else."""
    # surrogatepass: a lone surrogate is legal in a Python str and must not make hashing fail
    return "sha256:" + hashlib.sha256(code.encode("utf-8", "surrogatepass")).hexdigest()


def cache_key(request: ExecutionRequest) -> str:
    """Digest of what the client knows to make two runs interchangeable: code, inputs, outputs, limits, network policy.

    The store appends the environment fingerprint that the workers of the queue announce.
    """
    parts = {
        "schema": SCHEMA_VERSION,
        "code": code_hash(request.code),
        "inputs": {name: ref.hash for name, ref in request.inputs.items()},
        "outputs": list(request.outputs),
        "uploads": [[file.path, file.mode, file.ref.hash] for file in request.uploads],
        "downloads": list(request.downloads),
        "limits": {name: float(value) for name, value in request.limits.as_dict().items()},
        "network": request.network,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def retry_wait(request: ExecutionRequest, failures: int) -> float:
    """Seconds before the next try, before jitter.

    Args:
        request: has the waits; the last one repeats.
        failures: failed runs that were retried before the one that failed now.
    """
    return request.retry_waits_s[min(failures, len(request.retry_waits_s) - 1)]


def retry_policy(request: ExecutionRequest) -> str:
    """Digest of what the submitter was promised about retries; jobs that share a run share failures only if equal."""
    waits = [float(retry_wait(request, failures)) for failures in range(request.retries)]
    return hashlib.sha256(json.dumps(waits).encode()).hexdigest()[:16]


def _versioned(data: Any, what: str) -> dict[str, Any]:
    if not isinstance(data, Mapping):
        raise DecodeError(f"{what} must be a JSON object, not {type(data).__name__}")
    if data.get("schema") != SCHEMA_VERSION or isinstance(data["schema"], bool):
        raise DecodeError(
            f"{what} has schema {data.get('schema')!r}; this version reads {SCHEMA_VERSION}: upgrade the older side"
        )
    return {k: v for k, v in data.items() if k != "schema"}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
