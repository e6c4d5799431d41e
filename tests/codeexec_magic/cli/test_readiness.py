"""``codeexec doctor --ready``: exit statuses that probes rely on."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from support import PrivateServer

from codeexec_magic.cli.root import call
from codeexec_magic.settings import Settings
from codeexec_magic.store.jobs import JobStore


@pytest.fixture
def store(redis_server: PrivateServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[JobStore]:
    """The empty store of the server that the environment names."""
    monkeypatch.setenv("CELERY_BROKER_URL", redis_server.url)
    store = JobStore(redis_server.url, Settings())
    store.redis.flushall()
    yield store
    store.close()


def test_a_client_is_ready_when_the_broker_answers(store: JobStore, capsys: pytest.CaptureFixture[str]) -> None:
    """No worker is needed to submit."""
    assert call(["doctor", "--ready", "client"]) == 0
    assert capsys.readouterr().out == "ready: the broker answers\n"


def test_a_worker_is_ready_when_it_serves_a_queue(store: JobStore, capsys: pytest.CaptureFixture[str]) -> None:
    """A worker of another host does not make this one ready."""
    about = {"queues": "code_execution", "slots": "1", "busy": "0"}
    host = socket.gethostname()
    store.heartbeat("codeexec-1@elsewhere", ["code_execution"], "", {}, about)
    assert call(["doctor", "--ready", "worker"]) == 1
    assert capsys.readouterr().out == f"not ready: no worker of {host} serves a queue\n"
    store.heartbeat(f"codeexec-1@{host}", ["code_execution"], "", {}, about)
    assert call(["doctor", "--ready", "worker"]) == 0
    assert capsys.readouterr().out == f"ready: 1 worker of {host} on code_execution\n"


def test_a_probe_never_starts_the_embedded_cluster(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a broker the probe fails with a line that says what to set."""
    monkeypatch.delenv("CELERY_BROKER_URL", raising=False)
    assert call(["doctor", "--ready", "client"]) == 2
    assert "CELERY_BROKER_URL" in capsys.readouterr().err


def test_a_broker_that_is_away_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """The probe fails instead of waiting."""
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://localhost:1/0")
    assert call(["doctor", "--ready", "client"]) == 2
