"""``/mcp`` with the official client."""

from __future__ import annotations

import asyncio
from typing import Any

from mcp import Client


def test_a_tool_answers_over_streamable_http(server_url: str) -> None:
    """The same tools as on standard input and output."""

    async def talk() -> Any:
        async with Client(f"{server_url}/mcp") as client:
            return await client.call_tool("run_code", {"code": "print('over http')\n6 * 7"})

    answer = asyncio.run(asyncio.wait_for(talk(), 100))
    assert answer.structured_content["success"] is True
    assert answer.content[1].text == "over http\n42\n"
