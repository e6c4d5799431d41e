"""``codeexec mcp --http`` with a real worker behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from live_cluster import LiveCluster
from support import wait_until


@pytest.fixture(scope="session")
def server_url(cluster: LiveCluster) -> Iterator[str]:
    """Where it listens, started as the documentation says."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [str(Path(sys.executable).with_name("codeexec")), "mcp", "--http", str(port)]
    with (cluster.directory / "agents.log").open("ab") as log:
        process = subprocess.Popen(command, env={**os.environ, **cluster.env}, stdout=log, stderr=log)

    def answers() -> bool:
        assert process.poll() is None, (cluster.directory / "agents.log").read_text()
        try:
            return httpx.get(f"{url}/healthz").status_code == 200
        except httpx.TransportError:
            return False

    try:
        wait_until(answers, 60, "the server")
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


@pytest.fixture(autouse=True)
def _worker(cluster: LiveCluster) -> None:
    """Another test may have stopped it."""
    cluster.start_worker()
