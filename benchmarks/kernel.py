"""In a real kernel, over its real protocol: what the magic costs beyond the client, and when a print arrives."""

from __future__ import annotations

import time
from typing import Any

from jupyter_client.manager import start_new_kernel

from benchmarks.stand import Stand
from benchmarks.timing import Series, in_turns

MAGIC = "%%remote_exec --no-cache\n1+1"
CLIENT = "client.submit('1+1', cache=False).result(60)"
SETUP = "%load_ext codeexec_magic\nfrom codeexec_magic import Client\nclient = Client()"
PRINTS = "%%remote_exec --no-cache\nimport time\nfor _ in range(60):\n    print(time.time())\n    time.sleep(0.033)"


def measure(stand: Stand, rounds: int, each: int) -> dict[str, Series]:
    """Times from the request to the kernel's idle message, and from print to the front end's message."""
    manager, client = start_new_kernel(env=stand.env, kernel_name="python3")
    try:
        _execute(client, SETUP)
        calls = {
            "%%remote_exec": lambda: _execute(client, MAGIC),
            "client in the kernel": lambda: _execute(client, CLIENT),
            "1+1 in the kernel": lambda: _execute(client, "1+1"),
        }
        series = in_turns(calls, rounds, each, gap_s=0.05)
        seen = Series("print to front end")
        for _ in range(max(2, rounds // 3)):
            seen.rounds.append(_lateness(client))
        return {**series, seen.name: seen}
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def _execute(client: Any, code: str) -> list[tuple[float, dict[str, Any]]]:
    """Run a cell; the kernel's messages until it is idle, each with the time it came."""
    request = client.execute(code)
    seen = []
    while True:
        message = client.get_iopub_msg(timeout=60)
        if message["parent_header"].get("msg_id") != request:
            continue
        seen.append((time.time(), message))
        assert message["msg_type"] != "error", message["content"]
        if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
            reply = client.get_shell_msg(timeout=60)
            assert reply["content"]["status"] == "ok", reply["content"]
            return seen


def _lateness(client: Any) -> list[float]:
    late = []
    for arrived, message in _execute(client, PRINTS):
        if message["msg_type"] == "stream":
            late += [(arrived - float(line)) * 1000 for line in message["content"]["text"].split()]
    assert late
    return late
