"""A real IPython kernel on this machine, to compare cells with."""

from __future__ import annotations

import os
import queue
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

#: for a cell, and for the start of a kernel (seconds)
PATIENCE_S = 60.0


class LocalKernel:
    """Runs code in one kernel, started afresh by :meth:`restart`."""

    def __init__(self, folder: Path) -> None:
        """Start a kernel.

        Args:
            folder: its working folder and home.
        """
        self._manager = KernelManager(kernel_name="python3")
        spec = self._manager.kernel_spec
        assert spec is not None
        spec.argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        environment = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG")}
        environment |= {"HOME": str(folder), "IPYTHONDIR": str(folder / ".ipython")}
        self._manager.start_kernel(cwd=str(folder), env=environment)
        self._client: BlockingKernelClient = self._manager.client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=PATIENCE_S)

    def __enter__(self) -> LocalKernel:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)

    def restart(self) -> None:
        """Start a fresh interpreter."""
        self._manager.restart_kernel(now=True)
        self._client.wait_for_ready(timeout=PATIENCE_S)

    def run(self, code: str) -> list[dict[str, Any]]:
        """What the kernel publishes for a cell, in our own form of events; an error is an event of type ``error``."""
        asked = self._client.execute(code, allow_stdin=False)
        events: list[dict[str, Any]] = []
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                message = self._client.get_iopub_msg(timeout=max(0.1, end - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"the kernel did not end: {code}") from None
            if message["parent_header"].get("msg_id") != asked:
                continue
            content = message["content"]
            if message["msg_type"] == "status" and content["execution_state"] == "idle":
                return events
            if message["msg_type"] == "stream":
                events.append({"type": "stream", "name": content["name"], "text": content["text"]})
            elif message["msg_type"] in ("execute_result", "display_data", "error", "clear_output"):
                events.append({"type": message["msg_type"], **content})
