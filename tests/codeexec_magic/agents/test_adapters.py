"""The interfaces that agents' libraries keep, each with the real library and a real worker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest
from langchain_core.messages import AIMessage, ToolMessage
from live_cluster import LiveCluster

from codeexec_magic.agents import remote_exec
from codeexec_magic.agents.langchain import langchain_tool
from codeexec_magic.agents.schema import call_function, function_schema
from codeexec_magic.client import Client
from codeexec_magic.errors import BadOption, CodeSyntaxError


@pytest.fixture
def client(cluster: LiveCluster) -> Client:
    """Of a cluster with a worker."""
    cluster.start_worker()
    return cluster.client


def test_remote_exec_returns_whatever_came_of_it(client: Client) -> None:
    """Values in and out; a failure is a result, what cannot run is an error with its line."""
    fine = remote_exec("y = x + 1\ny", inputs={"x": 1}, outputs=["y"], timeout=20, memory="512MB", client=client)
    assert (fine.success, fine.value, fine.values["y"], fine.limits["memory_mb"]) == (True, 2, 2, 512)
    failed = remote_exec("1 / 0", client=client)
    assert failed.error is not None
    assert (failed.reason, failed.error.ename) == ("error", "ZeroDivisionError")
    slow = remote_exec("import time\ntime.sleep(60)", timeout=0.5, client=client)
    assert (slow.reason, slow.retry_count) == ("timeout", 0)
    with pytest.raises(CodeSyntaxError) as caught:
        remote_exec("1\nb = = 2", client=client)
    assert caught.value.lineno == 2
    with pytest.raises(BadOption, match="memory"):
        remote_exec("1", memory="lots", client=client)


def test_a_dry_run_asks_the_workers_and_runs_nothing(client: Client) -> None:
    """Names, modules, syntax."""
    look = remote_exec("import nosuch, json\nprint(a, b)", inputs={"a": 1}, client=client, dry_run=True)
    assert (look.ok, look.needs, look.imports, look.lacking) == (False, ("b",), ("json", "nosuch"), ("nosuch",))
    assert remote_exec("import json\njson", client=client, dry_run=True).ok
    bad = remote_exec("1\nb = = 2", client=client, dry_run=True)
    assert (bad.ok, bad.line) == (False, 2)


def test_an_openai_style_call_is_answered_in_text(client: Client) -> None:
    """Nonsense, too: the model reads what is wrong."""
    schema = function_schema()["function"]
    assert schema["parameters"]["required"] == ["code"]
    answer = call_function(json.dumps({"code": "print('a')\n2"}), client)
    assert answer.splitlines()[0].startswith("succeeded")
    assert answer.splitlines()[1:] == ["a", "2"]
    assert "ZeroDivisionError" in call_function('{"code": "1 / 0"}', client)
    for nonsense in ("", "[]", "{}", '{"code": 1}', '{"code": "b = = 2"}', '{"code": "1", "timeout_s": "soon"}'):
        assert call_function(nonsense, client).startswith("error: ")


def test_langchain_calls_the_tool(client: Client) -> None:
    """By the message that a model writes."""
    call = {"name": "run_python", "args": {"code": "6 * 7"}, "id": "1", "type": "tool_call"}
    message = AIMessage(content="", tool_calls=[call])
    answer: Any = langchain_tool(client).invoke(message.tool_calls[0])
    assert isinstance(answer, ToolMessage)
    assert str(answer.content).endswith("42")


def with_library(program: str, cluster: LiveCluster) -> Any:
    """What a program prints as JSON on its last line; a process of its own has the library's own warnings."""
    file = cluster.directory / "agent.py"  # a library reads its source
    file.write_text(program)
    cluster.start_worker()
    env = {**os.environ, **cluster.env}
    command = [sys.executable, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=110, env=env)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_pydantic_ai_calls_the_tool(cluster: LiveCluster) -> None:
    """A model of canned answers asks for code and reads what came of it."""
    program = """
import json
from pydantic_ai import Agent
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import FunctionModel
from codeexec_magic.agents.pydantic_ai import pydantic_ai_tool
def model(messages, info):
    last = messages[-1].parts[-1]
    if last.part_kind == "tool-return":
        return ModelResponse(parts=[TextPart(last.content)])
    return ModelResponse(parts=[ToolCallPart("run_python", {"code": "6 * 7"})])
print(json.dumps(Agent(FunctionModel(model), tools=[pydantic_ai_tool()]).run_sync("go").output))
"""
    assert with_library(program, cluster).endswith("42")


def test_a_code_agent_of_smolagents_works_with_the_executor(cluster: LiveCluster) -> None:
    """State lasts from step to step, the model reads errors, its tool is called, the answer comes back."""
    program = """
import json
from smolagents import CodeAgent, Model, tool
from smolagents.models import ChatMessage, MessageRole
from codeexec_magic.agents.smolagents import CodeexecExecutor
@tool
def triple(n: int) -> int:
    '''Three times a number.

    Args:
        n: the number.
    '''
    return 3 * n
steps = ["x = 2\\nprint('begun')", "x + nothing", "final_answer({'n': triple(x) * 7, 'x': x})"]
seen = []
class Canned(Model):
    def generate(self, messages, **options):
        seen.append(str(messages[-1].content))
        return ChatMessage(role=MessageRole.ASSISTANT, content="Thought: go\\n<code>\\n" + steps.pop(0) + "\\n</code>")
agent = CodeAgent(tools=[triple], model=Canned(), executor=CodeexecExecutor(), verbosity_level=0)
answer = agent.run("go")
print(json.dumps([answer, "begun" in seen[1], "NameError" in seen[2]]))
"""
    assert with_library(program, cluster) == [{"n": 42, "x": 2}, True, True]
