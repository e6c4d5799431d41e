"""What the ``e2b-code-interpreter`` SDK speaks to a code interpreter: ``/execute`` and ``/contexts``."""

from __future__ import annotations

import asyncio
import json
import threading
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from codeexec_magic.agents.http.body import field, read_json
from codeexec_magic.agents.replayed_context import ReplayedContext
from codeexec_magic.client import Client
from codeexec_magic.contract import ExecutionResult
from codeexec_magic.errors import BadRequest, CodeExecError
from codeexec_magic.hostile_text import one_line
from codeexec_magic.job import Job

#: how many contexts are kept; beyond that, the least recently used context is dropped
_CONTEXTS_LIMIT: Final = 1000
#: name of a result's form in the protocol, by MIME type
_FORMS: Final = {
    "text/plain": "text",
    "text/html": "html",
    "text/markdown": "markdown",
    "image/svg+xml": "svg",
    "image/png": "png",
    "image/jpeg": "jpeg",
    "application/pdf": "pdf",
    "text/latex": "latex",
    "application/json": "json",
    "application/javascript": "javascript",
}
#: the seconds that the SDK waits for a cell by default
_TIMEOUT_S: Final = 300.0
_DEFAULT: Final = "default"
_DIRECTORY: Final = "/work"


@dataclass
class _Context:
    """One context: its cells, and a lock, because its cells run one after the other."""

    id: str
    cells: ReplayedContext
    lock: asyncio.Lock = dataclass_field(default_factory=asyncio.Lock)

    def as_dict(self) -> dict[str, str]:
        return {"id": self.id, "language": "python", "cwd": _DIRECTORY}


class Contexts:
    """The contexts of all sandboxes; a sandbox of the protocol is named by a header of each request.

    Args:
        client: runs their cells.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._found: dict[tuple[str, str], _Context] = {}

    def routes(self) -> list[Route]:
        """All routes of the protocol."""
        return [
            Route("/execute", self._guarded(self._execute), methods=["POST"]),
            Route("/contexts", self._guarded(self._create), methods=["POST"]),
            Route("/contexts", self._guarded(self._list), methods=["GET"]),
            Route("/contexts/{context_id}", self._guarded(self._remove), methods=["DELETE"]),
            Route("/contexts/{context_id}/restart", self._guarded(self._restart), methods=["POST"]),
        ]

    @staticmethod
    def _guarded(endpoint: Any) -> Any:
        async def answer(request: Request) -> Response:
            try:
                response: Response = await endpoint(request)
                return response
            except _NoContext as err:
                return PlainTextResponse(str(err), 404)
            except BadRequest as err:
                return PlainTextResponse(one_line(str(err), 2000), 400)
            except CodeExecError as err:
                return PlainTextResponse(one_line(str(err), 2000), 503)

        return answer

    def _get(self, request: Request, context_id: str) -> _Context:
        """A context of the request's sandbox; the default context is made on its first use."""
        key = (_sandbox(request), context_id)
        with self._lock:
            context = self._found.pop(key, None)
            if context is None and context_id != _DEFAULT:
                raise _NoContext(f"no context {one_line(context_id)}: it was removed, or not used for long")
            context = context or _Context(context_id, ReplayedContext(self._client))
            return self._put(key, context)

    def _put(self, key: tuple[str, str], context: _Context) -> _Context:
        self._found[key] = context
        while len(self._found) > _CONTEXTS_LIMIT:
            del self._found[next(iter(self._found))]
        return context

    async def _create(self, request: Request) -> Response:
        data = await read_json(request)
        _only_python(data)
        if field(data, "cwd", str, _DIRECTORY) not in (_DIRECTORY, "/home/user"):
            raise BadRequest(f"cells run in {_DIRECTORY}: another cwd is not available")
        context = _Context(str(uuid.uuid4()), ReplayedContext(self._client))
        with self._lock:
            self._put((_sandbox(request), context.id), context)
        return JSONResponse(context.as_dict())

    async def _list(self, request: Request) -> Response:
        sandbox = _sandbox(request)
        with self._lock:
            found = [context.as_dict() for key, context in self._found.items() if key[0] == sandbox]
        return JSONResponse(found)

    async def _remove(self, request: Request) -> Response:
        context = self._get(request, request.path_params["context_id"])
        with self._lock:
            self._found.pop((_sandbox(request), context.id), None)
        return Response(status_code=204)

    async def _restart(self, request: Request) -> Response:
        self._get(request, request.path_params["context_id"]).cells.clear()
        return Response(status_code=204)

    async def _execute(self, request: Request) -> Response:
        data = await read_json(request)
        _only_python(data)
        code = field(data, "code", str)
        if field(data, "env_vars", dict, {}):
            raise BadRequest("env_vars are not available: cells see no environment of the caller; put values in code")
        context = self._get(request, field(data, "context_id", str, _DEFAULT))
        await context.lock.acquire()
        try:
            job = await asyncio.to_thread(context.cells.submit, code, timeout=_TIMEOUT_S - 60)
        except BaseException:
            context.lock.release()
            raise
        return StreamingResponse(_lines(context, job, code), media_type="application/x-ndjson")


class _NoContext(BadRequest):
    """No such context."""


def _sandbox(request: Request) -> str:
    return request.headers.get("e2b-sandbox-id", "")[:200]


def _only_python(data: Mapping[str, Any]) -> None:
    language = field(data, "language", str, "python")
    if language.lower() not in ("python", "python3"):
        raise BadRequest(f"language {one_line(language)} is not available: there is python")


async def _lines(context: _Context, job: Job, code: str) -> AsyncIterator[str]:
    """The events of a job as lines of JSON; a caller that leaves cancels the job."""
    ended = False
    try:
        following = job.events()
        while not ended:
            event: Mapping[str, Any] | None = await asyncio.to_thread(next, following, None)
            if event is None:
                return  # it has expired
            if event["type"] == "end":
                ended = True
                result = ExecutionResult.from_dict(event["result"])
                context.cells.keep(code, result)
                for last in _end(context, result):
                    yield json.dumps(last) + "\n"
            elif (line := _line(event)) is not None:
                yield json.dumps(line) + "\n"
    finally:
        context.lock.release()
        if not ended:
            await asyncio.shield(asyncio.to_thread(job.cancel))


def _line(event: Mapping[str, Any]) -> dict[str, Any] | None:
    """One event in the protocol's terms."""
    if event["type"] == "stream":
        return {"type": event["name"], "text": event["text"], "timestamp": time.time_ns() // 1000}
    if event["type"] in ("execute_result", "display_data", "update_display_data"):
        data = event["data"]
        forms = {_FORMS[mime]: value for mime, value in data.items() if mime in _FORMS}
        extra = {mime: value for mime, value in data.items() if mime not in _FORMS}
        return {
            "type": "result",
            "is_main_result": event["type"] == "execute_result",
            **forms,
            **({"extra": extra} if extra else {}),
        }
    return None


def _end(context: _Context, result: ExecutionResult) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    if not result.success:
        error = result.error
        lines.append(
            {
                "type": "error",
                "name": error.ename if error else str(result.reason),
                "value": error.evalue if error else result.verdict or str(result.status),
                "traceback": error.text if error else result.verdict,
            }
        )
    return [*lines, {"type": "number_of_executions", "execution_count": context.cells.count}]
