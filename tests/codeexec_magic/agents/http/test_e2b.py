"""The public ``e2b-code-interpreter`` SDK in its debug mode, switched to us by one environment variable."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import httpx
from live_cluster import LiveCluster
from support import wait_until

#: the SDK runs as an agent's own program would, with its own warnings and threads
_START = """
import json, os
from e2b_code_interpreter import Sandbox
sandbox = Sandbox.create(debug=True)
"""


def with_sdk(program: str, url: str) -> Any:
    """What the program prints as JSON on its last line."""
    env = {**os.environ, "E2B_DEBUG": "true", "E2B_SANDBOX_URL": url}
    command = [sys.executable, "-c", _START + program]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=110, env=env)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_a_cell_comes_back_as_the_sdk_shows_it(server_url: str) -> None:
    """Streams, the main result, a picture, an error with its traceback, the count."""
    found = with_sdk(
        """
heard = []
code = "import sys; print('out'); print('err', file=sys.stderr); 1 + 1"
ran = sandbox.run_code(code, on_stdout=lambda m: heard.append(m.line))
drawn = sandbox.run_code("import matplotlib.pyplot as plt\\nplt.plot([1, 2])\\nplt.show()")
bad = sandbox.run_code("1 / 0")
print(json.dumps([ran.logs.stdout, ran.logs.stderr, ran.text, heard, ran.results[0].is_main_result,
    drawn.results[0].png[:8], bad.error.name, bad.error.value, "ZeroDivisionError" in bad.error.traceback,
    bad.execution_count]))
""",
        server_url,
    )
    assert found[:5] == [["out\n"], ["err\n"], "2", ["out\n"], True]
    assert found[5:] == ["iVBORw0K", "ZeroDivisionError", "division by zero", True, 3]


def test_a_context_keeps_state_and_no_other_sees_it(server_url: str) -> None:
    """Earlier cells that ended well are there, those that failed are not, and what they printed is not said again."""
    found = with_sdk(
        """
one, two = sandbox.create_code_context(), sandbox.create_code_context()
texts = []
for code in ("x = 1\\nprint('first')", "x += 1; y = 5; raise ValueError", "def double(v):\\n    return 2 * v",
             "# a comment\\ndouble(x + 20)", "await __import__('asyncio').sleep(0)\\nx"):
    ran = sandbox.run_code(code, context=one)
    texts.append([ran.text, ran.logs.stdout, ran.error and ran.error.name])
other = sandbox.run_code("x", context=two).error.name
sandbox.restart_code_context(one)
restarted = sandbox.run_code("x", context=one).error.name
listed = len(sandbox.list_code_contexts())
sandbox.remove_code_context(two)
left = len(sandbox.list_code_contexts())
try:
    sandbox.run_code("1", context=two)
except Exception as err:
    gone = type(err).__name__
print(json.dumps([texts, other, restarted, listed - left, gone]))
""",
        server_url,
    )
    texts, other, restarted, removed, gone = found
    assert texts == [
        [None, ["first\n"], None],
        [None, [], "ValueError"],
        [None, [], None],
        ["42", [], None],
        ["1", [], None],
    ]
    assert (other, restarted, removed, gone) == ("NameError", "NameError", 1, "NotFoundException")


def test_a_timeout_of_the_sdk_cancels_the_cell(server_url: str, cluster: LiveCluster) -> None:
    """The caller reads of its own limit, and the context takes the next cell."""
    found = with_sdk(
        """
try:
    sandbox.run_code("import time\\ntime.sleep(297)", timeout=5)
except Exception as err:
    name = type(err).__name__
print(json.dumps([name, sandbox.run_code("6 * 7").text, sandbox.is_running(), sandbox.kill()]))
""",
        server_url,
    )
    assert found == ["TimeoutException", "42", True, True]
    ours = next(job for job in cluster.client.jobs() if "sleep(297)" in job.code)
    wait_until(lambda: cluster.client.job(ours.id).done, 60, "the end of the job")
    assert cluster.client.job(ours.id).status == "cancelled"


def test_the_asynchronous_sdk_gets_the_same(server_url: str) -> None:
    """Two contexts at the same time."""
    found = with_sdk(
        """
import asyncio
from e2b_code_interpreter import AsyncSandbox
async def main():
    sandbox = await AsyncSandbox.create(debug=True)
    contexts = [await sandbox.create_code_context() for _ in range(2)]
    ran = await asyncio.gather(*(sandbox.run_code(f"{n} + 40", context=c) for n, c in enumerate(contexts)))
    return [one.text for one in ran]
print(json.dumps(asyncio.run(main())))
""",
        server_url,
    )
    assert found == ["40", "41"]


def test_files_and_commands_are_refused_in_one_line(server_url: str) -> None:
    """Each operation of the SDK raises its own error with our words, at once."""
    found = with_sdk(
        """
from e2b import SandboxException
said = []
for refused in (
    lambda: sandbox.files.write("a.txt", "a"),
    lambda: sandbox.files.read("a.txt"),
    lambda: sandbox.files.list("."),
    lambda: sandbox.files.exists("a.txt"),
    lambda: sandbox.files.remove("a.txt"),
    lambda: sandbox.commands.run("ls"),
    lambda: sandbox.commands.list(),
):
    try:
        refused()
    except SandboxException as err:
        said.append(str(err))
print(json.dumps(said))
""",
        server_url,
    )
    assert [next(word for word in ("files are", "commands are") if word in text) for text in found] == (
        ["files are"] * 5 + ["commands are"] * 2
    )
    assert not any("\n" in text for text in found)


def test_what_is_not_available_is_refused_in_one_line(server_url: str) -> None:
    """Another language, an environment, no JSON, another site's page, a broken cell."""
    run = f"{server_url}/execute"
    for body, word in (
        ({"code": "1", "language": "r"}, "language r"),
        ({"code": "1", "env_vars": {"A": "b"}}, "env_vars"),
        ({"code": 1}, "code"),
        ({}, "code"),
        ({"code": "b = = 2"}, "line 1"),
    ):
        answer = httpx.post(run, json=body, timeout=60)
        assert answer.status_code == 400
        assert word in answer.text
        assert "\n" not in answer.text
    assert httpx.post(run, content='{"code": "1"}', headers={"content-type": "text/plain"}).status_code == 400
    assert httpx.post(run, json={"code": "1"}, headers={"host": "evil.example"}).status_code == 400
    assert httpx.post(run, json={"code": "1", "context_id": "unknown"}).status_code == 404
    assert httpx.post(run, json={"code": "#" * 9_000_000}, timeout=60).status_code == 400


def test_a_caller_that_leaves_cancels_its_cell(server_url: str, cluster: LiveCluster) -> None:
    """No cell runs on for nobody, and the context takes the next one."""
    code = "print('begun', flush=True)\nimport time\ntime.sleep(298)"
    with httpx.stream("POST", f"{server_url}/execute", json={"code": code}, timeout=60) as answer:
        assert "begun" in next(answer.iter_lines())
    ours = next(job for job in cluster.client.jobs() if "sleep(298)" in job.code)
    wait_until(lambda: cluster.client.job(ours.id).done, 60, "the end of the job")
    assert cluster.client.job(ours.id).status == "cancelled"
    assert httpx.post(f"{server_url}/execute", json={"code": "1"}, timeout=60).status_code == 200
