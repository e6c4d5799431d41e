"""SandboxFusion's ``/run_code`` for Python, as the ``sandbox-fusion`` SDK speaks it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from codeexec_magic.agents.http.body import field, read_json
from codeexec_magic.agents.prelude import with_prelude
from codeexec_magic.agents.transcript import verdict
from codeexec_magic.client import Client
from codeexec_magic.contract import ExecutionResult, Reason
from codeexec_magic.errors import BadRequest, CodeExecError, CodeSyntaxError
from codeexec_magic.hostile_text import one_line

#: the protocol's limit, where the caller names none (seconds)
_TIMEOUT_S: Final = 10.0
#: what the protocol calls an end by time
_TIME: Final = frozenset({Reason.TIMEOUT, Reason.CPU})
#: gives the code its standard input: cells have none, because nobody answers them
_STDIN: Final = """
def _set(text):
    import builtins, io, sys
    sys.stdin = io.TextIOWrapper(io.BytesIO(text.encode()), encoding="utf-8")
    def read(prompt=""):
        sys.stdout.write(str(prompt))
        line = sys.stdin.readline()
        if not line:
            raise EOFError("EOF when reading a line")
        return line.removesuffix("\\n")
    builtins.input = read
_set(prelude_data)
del _set
"""
#: ends that are no fault of the code: the caller's SDK tries again
_OURS: Final = frozenset({Reason.INTERNAL, Reason.WORKER_LOST, Reason.CANCELLED})


def routes(client: Client) -> list[Route]:
    """The route of the protocol.

    Args:
        client: runs the code.
    """

    async def run_code(request: Request) -> Response:
        try:
            data = await read_json(request)
            return JSONResponse(await _run(client, data))
        except BadRequest as err:
            return JSONResponse(_broken(one_line(str(err), 2000)), 400)
        except CodeExecError as err:
            return JSONResponse(_broken(one_line(str(err), 2000)))

    return [Route("/run_code", run_code, methods=["POST"])]


async def _run(client: Client, data: Mapping[str, Any]) -> dict[str, Any]:
    language = field(data, "language", str)
    if language != "python":
        return _broken(f"language {one_line(language)} is not available: there is python")
    for name, kind in (("files", dict), ("fetch_files", list)):
        if field(data, name, kind, kind()):
            return _broken(f"{name} is not available: put what the code needs into the code")
    timeout = field(data, "run_timeout", (int, float), _TIMEOUT_S)
    code = field(data, "code", str)
    try:
        client.check_code(code)
        stdin = field(data, "stdin", str, "")
        code, inputs = with_prelude(code, _STDIN, stdin) if stdin else (code, {})
        job = await asyncio.to_thread(
            client.submit,
            code,
            inputs=inputs,
            timeout=timeout,
            hard_timeout=timeout + 1,
            retries=0,
            cache=False,
        )
    except CodeSyntaxError as err:
        line = f'  File "<cell>", line {err.lineno}\n' if err.lineno else ""
        ended = {"status": "Finished", "execution_time": 0.0, "return_code": 1, "stdout": ""}
        return _answer("Failed", {**ended, "stderr": f"{line}SyntaxError: {err}\n"})
    try:
        return _outcome(await job)
    except asyncio.CancelledError:
        await asyncio.shield(asyncio.to_thread(job.cancel))
        raise


def _outcome(result: ExecutionResult) -> dict[str, Any]:
    if result.reason in _OURS:
        return _broken(verdict(result))
    timed_out = result.reason in _TIME
    stderr = result.stderr
    if result.error is not None:
        stderr += f"{result.error.text}\n"
    elif not result.success:
        stderr += f"{verdict(result)}\n"
    ended = {
        "status": "TimeLimitExceeded" if timed_out else "Finished",
        "execution_time": result.execution_time_ms / 1000,
        # the protocol has none for what was ended for its time
        "return_code": None if timed_out else result.returncode or int(not result.success),
        "stdout": result.stdout,
        "stderr": stderr,
    }
    return _answer("Success" if result.success else "Failed", ended)


def _answer(status: str, run: Mapping[str, Any] | None, message: str = "") -> dict[str, Any]:
    return {
        "status": status,
        "message": message,
        "compile_result": None,
        "run_result": run,
        "executor_pod_name": None,
        "files": {},
    }


def _broken(message: str) -> dict[str, Any]:
    return _answer("SandboxError", None, message)
