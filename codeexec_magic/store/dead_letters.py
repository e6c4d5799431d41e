"""Dead letters: jobs that gave up for good, with the record of every attempt."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from codeexec_magic.contract import (
    SCHEMA_VERSION,
    ErrorInfo,
    ExecutionRequest,
    ExecutionResult,
    code_hash,
    decode_attempts,
)
from codeexec_magic.errors import DecodeError, JobNotFound
from codeexec_magic.store.connection import broker_errors
from codeexec_magic.store.jobs import JobStore
from codeexec_magic.store.keys import DEAD_LETTER_INDEX, DEAD_LETTERS

#: lines of output kept in an entry
LAST_LINES = 20


@dataclass(frozen=True)
class DeadLetter:
    """One entry of the ``dead_letter`` list."""

    task_id: str
    code: str
    code_hash: str
    queue: str
    reason: str
    error: ErrorInfo | None
    verdict: str
    attempts: tuple[Mapping[str, Any], ...]
    first_at: str
    last_at: str
    last_output: tuple[str, ...]
    label: str = ""

    @classmethod
    def of(cls, request: ExecutionRequest, result: ExecutionResult, first_at: str) -> DeadLetter:
        """The entry for a job that ended in ``result``."""
        text = "".join(event["text"] for event in result.outputs if event["type"] == "stream")
        return cls(
            task_id=request.task_id,
            code=request.code,
            code_hash=code_hash(request.code),
            queue=request.queue,
            reason=str(result.reason),
            error=result.error,
            verdict=result.verdict,
            attempts=result.attempts,
            first_at=first_at,
            last_at=result.timestamp,
            last_output=tuple(line[-500:] for line in text[-20_000:].splitlines()[-LAST_LINES:]),
            label=request.label,
        )

    def as_dict(self) -> dict[str, Any]:
        """The wire form."""
        data = {**self.__dict__, "error": self.error.as_dict() if self.error else None}
        data["attempts"], data["last_output"] = [dict(one) for one in self.attempts], list(self.last_output)
        return {"schema": SCHEMA_VERSION, **data}

    @classmethod
    def from_dict(cls, data: Any) -> DeadLetter:
        """Decode.

        Raises:
            DecodeError: not a dead letter of this version.
        """
        try:
            if data["schema"] != SCHEMA_VERSION:
                raise DecodeError(f"dead letter has schema {data['schema']!r}")
            fields = {name: data[name] for name in cls.__dataclass_fields__}
            fields["error"] = ErrorInfo.from_dict(fields["error"]) if fields["error"] else None
            for name, value in fields.items():
                if name not in ("error", "attempts", "last_output") and not isinstance(value, str):
                    raise TypeError(f"{name} is no text")
            fields["attempts"] = decode_attempts(fields["attempts"])
            fields["last_output"] = _all(str, fields["last_output"])
            return cls(**fields)
        except (KeyError, TypeError) as err:
            raise DecodeError(f"dead letter does not follow the contract: {err}") from None


def dead_letters(store: JobStore, limit: int = 100) -> list[DeadLetter]:
    """The newest entries, newest first. A damaged one is listed by its id; what has no id is left out."""
    with broker_errors(store.url):
        entries: Any = store.redis.lrange(store.key(DEAD_LETTERS), 0, limit - 1)
    return [letter for entry in entries if (letter := readable(entry)) is not None]


def dead_letter(store: JobStore, task_id: str) -> DeadLetter:
    """One entry.

    Raises:
        JobNotFound: there is none for this job.
    """
    with broker_errors(store.url):
        entry: Any = store.redis.hget(store.key(DEAD_LETTER_INDEX), task_id)
    if entry is None:
        raise JobNotFound(f"no dead letter {task_id}: it never gave up, or was requeued or dropped")
    try:
        return DeadLetter.from_dict(_load(entry))
    except DecodeError as err:
        raise DecodeError(f"the dead letter of job {task_id} is damaged: {err}") from None


def readable(entry: str) -> DeadLetter | None:
    """An entry of the list; one that is damaged or cut has its id and says so; None for an entry without an id."""
    try:
        return DeadLetter.from_dict(_load(entry))
    except DecodeError:
        found = re.search(r'"task_id":\s*"([^"\\]{1,64})"', entry)
        verdict = "this dead letter is too large for a list, or damaged: open it"
        return DeadLetter(found[1], "", "", "", "", None, verdict, (), "", "", ()) if found else None


def _all(kind: type, values: Any) -> tuple[Any, ...]:
    """``values`` as a tuple.

    Raises:
        TypeError: they are no list of this kind.
    """
    if not isinstance(values, list | tuple) or not all(isinstance(one, kind) for one in values):
        raise TypeError(f"not a list of {kind.__name__}")
    return tuple(values)


def _load(entry: str) -> Any:
    try:
        return json.loads(entry)
    except (ValueError, RecursionError):
        raise DecodeError("a dead letter is not JSON") from None
