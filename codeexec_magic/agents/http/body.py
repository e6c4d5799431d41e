"""Reading a request: JSON only, of a bounded size."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from starlette.requests import Request

from codeexec_magic.errors import BadRequest

#: bytes of a request's body
BODY_LIMIT: Final = 8_000_000


async def read_json(request: Request) -> Mapping[str, Any]:
    """The object in the body of a request.

    A page of another site can send a form or plain text without asking the browser, but no JSON.

    Args:
        request: with a body of content type ``application/json``.

    Raises:
        BadRequest: another content type, too large, or no JSON object.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise BadRequest("send content-type application/json")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_LIMIT:
            raise BadRequest(f"the body is larger than {BODY_LIMIT:,} bytes")
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        raise BadRequest("the body is not JSON") from None
    if not isinstance(data, dict):
        raise BadRequest("the body is not a JSON object")
    return data


def field(data: Mapping[str, Any], name: str, kind: type | tuple[type, ...], default: Any = None) -> Any:
    """One field of a body; null is as good as absent.

    Args:
        data: the body.
        name: of the field.
        kind: what it must be.
        default: when it is absent; without one it must be there.

    Raises:
        BadRequest: it is missing or of another kind.
    """
    value = data.get(name)
    if value is None:
        value = default
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise BadRequest(f"field {name!r} is missing" if value is None else f"field {name!r} has the wrong type")
    return value
