"""A pydantic-ai tool."""

from __future__ import annotations

from typing import Any

from pydantic_ai import Tool

from codeexec_magic.agents.schema import DESCRIPTION, NAME, run_python
from codeexec_magic.client import Client


def pydantic_ai_tool(client: Client | None = None) -> Tool[Any]:
    """The tool, for ``Agent(tools=[...])``.

    Args:
        client: the cluster; by default that of the environment.
    """

    def run(code: str, timeout_s: float = 60.0) -> str:
        return run_python(code, timeout_s, client=client)

    return Tool(run, name=NAME, description=DESCRIPTION)
