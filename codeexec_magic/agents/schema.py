"""The tool as models are told of it by OpenAI-style APIs: a JSON schema, and the answer to a call."""

from __future__ import annotations

import json
from typing import Any, Final

from codeexec_magic.agents.remote_exec import remote_exec
from codeexec_magic.agents.transcript import error_text, output_text, verdict
from codeexec_magic.client import Client
from codeexec_magic.errors import BadRequest
from codeexec_magic.hostile_text import one_line

NAME: Final = "run_python"
DESCRIPTION: Final = (
    "Run Python code in a fresh sandbox without network and return what it printed, the value of its last line, "
    "and its error. Nothing is kept from one call to the next."
)
#: seconds that a call may name at most
_TIMEOUT_S: Final = 60.0


def function_schema() -> dict[str, Any]:
    """One entry of the ``tools`` that an OpenAI-style chat request lists."""
    parameters = {
        "type": "object",
        "properties": {
            "code": {"type": "string", "description": "a notebook cell"},
            "timeout_s": {"type": "number", "description": "seconds it may take", "default": _TIMEOUT_S},
        },
        "required": ["code"],
        "additionalProperties": False,
    }
    return {"type": "function", "function": {"name": NAME, "description": DESCRIPTION, "parameters": parameters}}


def call_function(arguments: str, client: Client | None = None) -> str:
    """The content of the ``tool`` message that answers a call; nonsense in the arguments is an answer, too.

    Args:
        arguments: JSON, as the model wrote it.
        client: runs the code; by default a client for the cluster that the environment names.

    Raises:
        QueueFull, ClusterError: nothing can be run now.
    """
    try:
        given = json.loads(arguments)
        code, timeout = given["code"], given.get("timeout_s", _TIMEOUT_S)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return 'error: the arguments must be a JSON object with "code"'
    return run_python(code, timeout, client=client)


def run_python(code: str, timeout_s: float = _TIMEOUT_S, *, client: Client | None = None) -> str:
    """Run code and say in text what came of it: how it ended, its output, its error.

    Args:
        code: a notebook cell.
        timeout_s: seconds it may take.
        client: runs the code; by default a client for the cluster that the environment names.

    Raises:
        QueueFull, ClusterError: nothing can be run now.
    """
    try:
        result = remote_exec(code, timeout=timeout_s, client=client)
    except BadRequest as err:
        return f"error: {one_line(str(err), 2000)}"
    parts = [f"{result.status}: {verdict(result)}", output_text(result), error_text(result)]
    return "\n".join(part.rstrip("\n") for part in parts if part)
