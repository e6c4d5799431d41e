"""A LangChain tool."""

from __future__ import annotations

from langchain_core.tools import StructuredTool

from codeexec_magic.agents.schema import DESCRIPTION, NAME, run_python
from codeexec_magic.client import Client


def langchain_tool(client: Client | None = None) -> StructuredTool:
    """The tool, for ``bind_tools`` or an agent.

    Args:
        client: runs the code; by default a client for the cluster that the environment names.
    """

    def run(code: str, timeout_s: float = 60.0) -> str:
        return run_python(code, timeout_s, client=client)

    return StructuredTool.from_function(run, name=NAME, description=DESCRIPTION)
