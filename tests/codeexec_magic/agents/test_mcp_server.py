"""The tools as the official client sees them: on standard input and output, with a real worker behind."""

from __future__ import annotations

import asyncio
import base64
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from live_cluster import LiveCluster
from mcp import Client, StdioServerParameters, stdio_client
from support import wait_until

Talk = Callable[[Client], Awaitable[Any]]
FIGURE = "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()\nprint('drawn')"


@pytest.fixture
def ask(cluster: LiveCluster) -> Callable[[Talk], Any]:
    """Talks to ``codeexec mcp`` started as an agent starts it."""
    cluster.start_worker()
    command = str(Path(sys.executable).with_name("codeexec"))
    parameters = StdioServerParameters(command=command, args=["mcp"], env={**os.environ, **cluster.env})

    def talk(what: Talk) -> Any:
        async def session() -> Any:
            async with Client(stdio_client(parameters)) as client:
                return await what(client)

        return asyncio.run(asyncio.wait_for(session(), 100))

    return talk


def test_each_tool_says_what_it_takes_and_returns(ask: Callable[[Talk], Any]) -> None:
    """A model reads descriptions; a program reads the schema of the verdict."""
    tools = {tool.name: tool for tool in ask(lambda client: client.list_tools()).tools}
    assert tools.keys() == {"run_code", "start_code", "get_result", "cancel", "check_code", "list_packages"}
    assert all(tool.description and tool.output_schema for tool in tools.values())
    assert tools["run_code"].input_schema["required"] == ["code"]
    assert {"success", "reason", "verdict"} <= tools["run_code"].output_schema["properties"].keys()


def test_output_values_tables_and_pictures_come_back(ask: Callable[[Talk], Any]) -> None:
    """Text as text, a picture as a picture, the verdict as data."""

    async def talk(client: Client) -> None:
        answer = await client.call_tool(
            "run_code", {"code": FIGURE + "\nx = n + 1\nx", "inputs": {"n": 1}, "outputs": ["x"]}
        )
        assert not answer.is_error
        found = answer.structured_content
        assert (found["success"], found["reason"], found["values"], found["pictures"]) == (True, "ok", {"x": 2}, 1)
        assert "drawn" in answer.content[1].text
        assert answer.content[1].text.rstrip().endswith("2")
        picture = answer.content[-1]
        assert (picture.type, picture.mime_type) == ("image", "image/png")
        assert base64.b64decode(picture.data).startswith(b"\x89PNG")
        table = await client.call_tool("run_code", {"code": "import pandas as pd\npd.DataFrame({'abc': [1, 2]})"})
        assert "abc" in table.content[1].text

    ask(talk)


def test_a_failure_is_an_answer(ask: Callable[[Talk], Any]) -> None:
    """The traceback has the code's line; a limit is named; what cannot be run is refused in one line."""

    async def talk(client: Client) -> None:
        raised = await client.call_tool("run_code", {"code": "a = 1\n1 / 0"})
        assert raised.is_error
        assert raised.structured_content["error_name"] == "ZeroDivisionError"
        assert "line 2" in raised.content[-1].text or "----> 2" in raised.content[-1].text
        slow = await client.call_tool("run_code", {"code": "import time\ntime.sleep(60)", "timeout_s": 0.5})
        assert slow.structured_content["reason"] == "timeout"
        bad = await client.call_tool("run_code", {"code": "a = 1\nb = = 2"})
        assert bad.is_error
        assert (bad.structured_content["refused"], bad.structured_content["line"]) == ("CodeSyntaxError", 2)

    ask(talk)


def test_what_code_writes_is_bounded_clean_and_marked(ask: Callable[[Talk], Any]) -> None:
    """Head and tail stay, control characters go, and content that the code wrote says so."""
    code = (
        "print('HEAD\\x1b]0;title\\x07\\x1b[31m' + 'x' * 100_000 + '\\u202eTAIL')\n"
        "raise ValueError('\\x1b[2J' + 'y' * 9000)"
    )

    async def talk(client: Client) -> None:
        answer = await client.call_tool("run_code", {"code": code})
        first, output, error = answer.content
        assert first.meta is None
        assert output.meta == error.meta == {"codeexec/source": "code"}
        assert output.text.startswith("HEADxxx")
        assert output.text.rstrip().endswith("TAIL")
        assert "characters left out" in output.text
        assert len(output.text) < 20_000
        assert not any(c in "".join(block.text for block in answer.content) for c in "\x1b\x07\u202e")
        assert len(answer.structured_content["error_message"]) <= 2000

    ask(talk)


def test_a_started_job_is_looked_up_and_cancelled(ask: Callable[[Talk], Any]) -> None:
    """An agent need not wait for what it starts."""

    async def talk(client: Client) -> None:
        started = await client.call_tool("start_code", {"code": "import time\ntime.sleep(300)"})
        job_id = started.structured_content["job_id"]
        waiting = await client.call_tool("get_result", {"job_id": job_id, "wait_s": 0})
        assert waiting.structured_content["success"] is None
        await client.call_tool("cancel", {"job_id": job_id})
        ended = await client.call_tool("get_result", {"job_id": job_id, "wait_s": 60})
        assert ended.structured_content["status"] == "cancelled"
        unknown = await client.call_tool("cancel", {"job_id": "no-such-job"})
        assert unknown.is_error
        assert unknown.structured_content["refused"] == "JobNotFound"

    ask(talk)


def test_a_call_that_is_given_up_cancels_its_job(ask: Callable[[Talk], Any], cluster: LiveCluster) -> None:
    """No cell runs on for nobody."""
    code = "import time\ntime.sleep(299)"

    async def talk(client: Client) -> None:
        call = asyncio.create_task(client.call_tool("run_code", {"code": code, "timeout_s": 300}))
        while not any("sleep(299)" in job.code for job in cluster.client.jobs()):
            await asyncio.sleep(0.1)
        call.cancel()
        ours = next(job for job in cluster.client.jobs() if "sleep(299)" in job.code)
        await asyncio.to_thread(wait_until, lambda: cluster.client.job(ours.id).done, 60, "the end of the job")
        assert cluster.client.job(ours.id).status == "cancelled"

    ask(talk)


def test_code_is_looked_at_without_running_it(ask: Callable[[Talk], Any]) -> None:
    """Syntax, names and modules; and the packages that are there."""

    async def talk(client: Client) -> None:
        look = await client.call_tool("check_code", {"code": "import nosuch, numpy\nprint(x + y)", "inputs": ["x"]})
        found = look.structured_content
        assert (found["ok"], found["needs"], found["lacking"]) == (False, ["y"], ["nosuch"])
        listed = await client.call_tool("list_packages", {"name": "NumPy"})
        assert "numpy" in listed.structured_content

    ask(talk)
