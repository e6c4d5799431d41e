"""Refuses, in one line each, the operations of the compatible protocols that this server does not have."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

_FILES: Final = "files are not available: write and read them in the code, in the same context"
_COMMANDS: Final = "commands are not available: run them in the code, by a line that begins with an exclamation mark"
_ONLY_CODE: Final = "only /run_code is available of SandboxFusion"
_METHODS: Final = ["GET", "POST", "PUT", "PATCH", "DELETE"]
#: paths, and why they are refused
_REFUSED: Final = {
    "/files": _FILES,
    "/filesystem.Filesystem/{method}": _FILES,
    "/process.Process/{method}": _COMMANDS,
    "/run_jupyter": _ONLY_CODE,
    "/submit": _ONLY_CODE,
    "/get_prompts": _ONLY_CODE,
    "/get_prompt_by_id": _ONLY_CODE,
}


def routes() -> list[Route]:
    """A route for each operation that is refused.

    The answer has status 501. Its body is an error of E2B's two interfaces, one of which follows the Connect protocol.
    """
    return [Route(path, _refusal(message), methods=_METHODS) for path, message in _REFUSED.items()]


def _refusal(message: str) -> Callable[[Request], Awaitable[Response]]:
    async def refuse(_request: Request) -> Response:
        return JSONResponse({"code": "unimplemented", "message": message}, 501)

    return refuse
