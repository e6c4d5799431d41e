"""The message that makes Celery run a job: protocol 2, in the form that kombu's Redis transport writes to a list.

The message names the job and which publication of it this is; everything else is in the job's record. The scripts that
publish a job write it by :func:`lua_definition`, a worker reads it by :func:`decode` and passes it on by
:func:`encode`; all three follow :func:`envelope`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final

from codeexec_magic.contract import TASK_NAME
from codeexec_magic.errors import DecodeError

#: the scripts write less than 2 kB; what is longer is not even parsed
MAX_MESSAGE: Final = 65_536
#: longest task id, and longest label that is shown
MAX_TEXT: Final = 200
#: generations count publications
MAX_GENERATION: Final = 2**53

#: what stands for the variable parts in the text that the scripts' definition is made from
_ID_MARK: Final = "@id@"
_GENERATION_MARK: Final = 4_503_599_627_371_111
_LABEL_MARK: Final = "@label@"
_QUEUE_MARK: Final = "@queue@"


@dataclass(frozen=True)
class Message:
    """What a message says."""

    task_id: str
    generation: int  #: which publication of the job; a worker drops all but the latest
    label: str | None = None  #: what monitors show instead of the task's name


def envelope(message: Message, queue: str) -> dict[str, Any]:
    """The whole message as Celery and kombu know it.

    Args:
        message: what it says.
        queue: the list it goes to.
    """
    task_id, generation = message.task_id, message.generation
    embedded = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    return {
        "body": json.dumps([[task_id, generation], {}, embedded], separators=(",", ":")),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {
            "lang": "py",
            "task": TASK_NAME,
            "id": task_id,
            "shadow": message.label,
            "eta": None,
            "expires": None,
            "group": None,
            "group_index": None,
            "retries": 0,
            "timelimit": [None, None],
            "root_id": task_id,
            "parent_id": None,
            "argsrepr": repr((task_id, generation)),
            "kwargsrepr": "{}",
            "origin": "codeexec",
            "ignore_result": True,
            "replaced_task_nesting": 0,
            "stamped_headers": None,
            "stamps": {},
        },
        "properties": {
            "correlation_id": task_id,
            "reply_to": "",
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": queue},
            "priority": 0,
            "body_encoding": None,
            "delivery_tag": f"{task_id}:{generation}",
        },
    }


def encode(message: Message, queue: str) -> bytes:
    """The message as it stands in the list ``queue``."""
    return json.dumps(envelope(message, queue)).encode()


def decode(item: bytes) -> Message:
    """Read a message that anybody may have written.

    Raises:
        DecodeError: it does not ask for our task the way the scripts do; the text holds nothing of it.
    """
    if len(item) > MAX_MESSAGE:
        raise DecodeError(f"{len(item)} bytes, more than {MAX_MESSAGE}")
    try:
        found = json.loads(item)
    except (ValueError, RecursionError):
        raise DecodeError("not JSON") from None
    headers = found.get("headers") if isinstance(found, dict) else None
    if not isinstance(headers, dict):
        raise DecodeError("not a Celery message")
    if headers.get("task") != TASK_NAME:
        raise DecodeError(f"asks for another task than {TASK_NAME}")
    task_id, generation = _arguments(found.get("body"))
    label = headers.get("shadow")
    return Message(task_id, generation, label[:MAX_TEXT] if isinstance(label, str) else None)


def _arguments(body: Any) -> tuple[str, int]:
    try:
        arguments = json.loads(body)[0] if isinstance(body, str) else None
    except (ValueError, LookupError, TypeError, RecursionError):
        arguments = None
    if not isinstance(arguments, list) or [type(one) for one in arguments] != [str, int]:
        raise DecodeError("its arguments are not a task id and a generation")
    task_id, generation = arguments
    if not (0 < len(task_id) <= MAX_TEXT and 0 < generation < MAX_GENERATION):
        raise DecodeError("its task id or generation is out of range")
    return task_id, generation


def lua_definition() -> str:
    """Lua source of ``envelope(id, generation, label, queue)``, which returns the message as text.

    Ids and names of queues are written as they are: both are checked before they reach a script.
    """
    marked = envelope(Message(_ID_MARK, _GENERATION_MARK, _LABEL_MARK), _QUEUE_MARK)
    text = json.dumps(marked, separators=(",", ":"))
    variables = {
        _ID_MARK: "id",
        str(_GENERATION_MARK): "generation",
        json.dumps(_LABEL_MARK): "cjson.encode(label)",
        _QUEUE_MARK: "queue",
    }
    parts = re.split("(" + "|".join(map(re.escape, variables)) + ")", text)
    pieces = [variables.get(part) or f"[==[{part}]==]" for part in parts if part]
    return f"local function envelope(id, generation, label, queue)\n  return {' .. '.join(pieces)}\nend\n"
