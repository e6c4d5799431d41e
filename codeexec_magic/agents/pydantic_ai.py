"""A pydantic-ai tool."""

from __future__ import annotations

from typing import Any

from pydantic_ai import Tool

from codeexec_magic.agents.schema import DESCRIPTION, NAME, run_python
from codeexec_magic.client import Client


def pydantic_ai_tool(client: Client | None = None) -> Tool[Any]:
    """The tool, for ``Agent(tools=[...])``.

    Args:
        client: runs the code; by default a client for the cluster that the environment names.
    """

    def run(code: str, timeout_s: float = 60.0) -> str:
        return run_python(code, timeout_s, client=client)

    return Tool(run, name=NAME, description=DESCRIPTION)
