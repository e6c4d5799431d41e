"""Celery's own tools and a real Flower see this worker, and no cell's code."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support import PrivateServer, missing, wait_until

from codeexec_magic import Client

pytestmark = pytest.mark.slow

SECRET = "password = 'do-not-leak-6c1f'"


@dataclass
class Deployment:
    """A worker that sends events, its environment and a client."""

    env: dict[str, str]
    client: Client
    folder: Path

    def celery(self, *arguments: str) -> str:
        """What a command of Celery's prints."""
        command = [sys.executable, "-m", "celery", "-A", "worker.app", *arguments]
        done = subprocess.run(command, env=self.env, cwd=self.folder, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def end(process: subprocess.Popen[bytes]) -> None:
    """Stop a process and what it started."""
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


@pytest.fixture(scope="module")
def deployment(redis_server: PrivateServer) -> Iterator[Deployment]:
    """Shared by the tests below."""
    folder = Path(tempfile.mkdtemp(prefix="cx-"))
    env = {
        **os.environ,
        "CELERY_BROKER_URL": redis_server.url,
        "CELERY_RESULT_BACKEND": redis_server.backend_url,
        "CODEEXEC_PRELOAD": "json",
    }
    client = Client(redis_server.url)
    client.store.redis.flushall()
    cli = "from codeexec_magic.cli import main; main()"
    command = [sys.executable, "-c", cli, "worker", "--events", "--slots", "1", "--name", "celery"]
    with (folder / "worker.log").open("wb") as log:
        worker = subprocess.Popen(command, env=env, cwd=folder, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_until(lambda: any(one.alive for one in client.workers()), 60, "the worker")
        yield Deployment(env, client, folder)
    finally:
        end(worker)
        client.close()
        shutil.rmtree(folder, ignore_errors=True)


def test_another_pool_is_refused(deployment: Deployment) -> None:
    """A worker told to run its tasks in the main loop ends at once, with a line that names the option to change.

    Of ``-P prefork`` Celery makes threads by itself: our setting wins over its default.
    """
    command = [sys.executable, "-m", "celery", "-A", "worker.app", "worker", "-P", "solo", "-c", "1", "-n", "p@%h"]
    done = subprocess.run(
        command, env=deployment.env, cwd=deployment.folder, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr.splitlines()[-1].startswith("codeexec worker: use the threads pool (-P threads)")


def test_inspect(deployment: Deployment) -> None:
    """ping, active_queues and active answer; a running job is listed by its id, without its code."""
    assert "pong" in deployment.celery("inspect", "ping")
    assert "code_execution" in deployment.celery("inspect", "active_queues")
    job = deployment.client.submit(f"{SECRET}\nimport time\ntime.sleep(30)", cache=False)
    wait_until(lambda: str(job.status) == "running", 30)
    listed = deployment.celery("inspect", "active", "--json")
    job.cancel()
    assert job.id in listed
    assert "codeexec.execute" in listed
    assert "do-not-leak" not in listed
    job.result(30)


@pytest.fixture
def flower(deployment: Deployment) -> Iterator[str]:
    """Address of a Flower on the deployment."""
    try:
        import flower  # noqa: F401
    except ImportError:
        missing("flower")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = {**deployment.env, "FLOWER_UNAUTHENTICATED_API": "true"}
    command = [sys.executable, "-m", "celery", "-A", "worker.app", "flower", "--address=127.0.0.1", f"--port={port}"]
    with (deployment.folder / "flower.log").open("wb") as log:
        process = subprocess.Popen(
            command, env=env, cwd=deployment.folder, stdout=log, stderr=log, start_new_session=True
        )
    address = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        assert process.poll() is None, (deployment.folder / "flower.log").read_text()
        try:
            return get(f"{address}/healthcheck") == "OK"
        except OSError:
            return False

    try:
        wait_until(answers, 60, "Flower's answer")
        yield address
    finally:
        end(process)


def get(url: str) -> str:
    """The body of an answer."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


def test_flower(deployment: Deployment, flower: str) -> None:
    """Flower lists worker and task, named usefully, with the id for arguments and no code anywhere."""

    def tasks() -> dict[str, Any]:
        found: dict[str, Any] = json.loads(get(f"{flower}/api/tasks"))
        return found

    wait_until(lambda: "celery@" in get(f"{flower}/api/workers?refresh=1"), 60, "the worker in Flower")
    plain = deployment.client.submit(f"{SECRET}\n6 * 7", cache=False)
    named = deployment.client.submit(f"{SECRET}\n6 * 8", cache=False, label="nightly report")
    for job in (plain, named):
        assert job.result(60).success
    wait_until(
        lambda: all(tasks().get(job.id, {}).get("state") == "SUCCESS" for job in (plain, named)), 30, "both tasks"
    )
    seen = tasks()
    assert seen[plain.id]["name"] == "codeexec.execute"
    assert seen[named.id]["name"] in ("nightly report", "codeexec.execute")
    assert plain.id in seen[plain.id]["args"]
    assert seen[plain.id]["worker"].startswith("celery@")
    everything = json.dumps(seen) + get(f"{flower}/task/{plain.id}") + get(f"{flower}/tasks") + get(f"{flower}/workers")
    assert "do-not-leak" not in everything
    assert "flower_events_total" in get(f"{flower}/metrics")
    queues = json.loads(get(f"{flower}/api/queues/length"))["active_queues"]
    assert {"name": "code_execution", "messages": 0} in queues
