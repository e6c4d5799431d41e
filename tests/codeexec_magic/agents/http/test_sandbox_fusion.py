"""The ``sandbox-fusion`` SDK against ``/run_code``, switched to us by one environment variable."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import httpx

_PROGRAM = """
import json, sys
from sandbox_fusion import RunCodeRequest, run_code
found = []
for code, stdin in json.loads(sys.argv[1]):
    answer = run_code(RunCodeRequest(code=code, language="python", run_timeout=3, stdin=stdin))
    found.append([answer.status.value, answer.run_result.status.value, answer.run_result.return_code,
                  answer.run_result.stdout, answer.run_result.stderr])
print(json.dumps(found))
"""


def run_all(cells: list[tuple[str, str]], url: str) -> list[list[Any]]:
    """What the SDK makes of each cell."""
    env = {**os.environ, "SANDBOX_FUSION_ENDPOINT": url}
    command = [sys.executable, "-c", _PROGRAM, json.dumps(cells)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=110, env=env)
    assert done.returncode == 0, done.stderr[-3000:]
    found: list[list[Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_verdicts_are_the_protocols(server_url: str) -> None:
    """Output, standard input, an error, an exit status, a time limit, a syntax error."""
    fine, fed, buffered, raised, left, slow, bad = run_all(
        [
            ("print('hi')\n2", ""),
            ("a, b = map(int, input().split())\nprint(a + b)", "3 4\n"),
            ("import sys\nprint(len(sys.stdin.buffer.read()))", "ä\n"),
            ("def f():\n    1 / 0\nf()", ""),
            ("import sys\nsys.exit(7)", ""),
            ("import time\ntime.sleep(60)", ""),
            ("x = = 1", ""),
        ],
        server_url,
    )
    assert fine == ["Success", "Finished", 0, "hi\n", ""]
    assert fed[:4] == ["Success", "Finished", 0, "7\n"]
    assert buffered[3] == "3\n"
    assert raised[:3] == ["Failed", "Finished", 1]
    assert "ZeroDivisionError" in raised[4]
    assert "\x1b" not in raised[4]
    assert left[:3] == ["Failed", "Finished", 7]
    assert slow[:3] == ["Failed", "TimeLimitExceeded", None]
    assert bad[:3] == ["Failed", "Finished", 1]
    assert "SyntaxError" in bad[4]
    assert "line 1" in bad[4]


def test_what_is_not_available_is_said(server_url: str) -> None:
    """Never silently left out."""
    for extra, word in (
        ({"language": "cpp"}, "cpp"),
        ({"files": {"a": "YQ=="}}, "files"),
        ({"fetch_files": ["a"]}, "fetch"),
    ):
        body = {"code": "1", "language": "python", **extra}
        answer = httpx.post(f"{server_url}/run_code", json=body, timeout=60).json()
        assert answer["status"] == "SandboxError"
        assert word in answer["message"]


def test_the_asynchronous_sdk_gets_the_same_and_other_operations_are_refused(server_url: str) -> None:
    """The SDK raises an error with our words."""
    program = """
import asyncio, json
from sandbox_fusion import RunCodeRequest, RunJupyterRequest, run_code_async, run_jupyter
ran = asyncio.run(run_code_async(RunCodeRequest(code="print(6 * 7)", language="python")))
try:
    run_jupyter(RunJupyterRequest(cells=["1"]), max_attempts=1)
except Exception as err:
    said = str(err)
print(json.dumps([ran.run_result.stdout, said]))
"""
    env = {**os.environ, "SANDBOX_FUSION_ENDPOINT": server_url}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=110, env=env)
    assert done.returncode == 0, done.stderr[-3000:]
    printed, said = json.loads(done.stdout.splitlines()[-1])
    assert printed == "42\n"
    assert "only /run_code is available" in said
