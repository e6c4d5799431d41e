"""A Celery app for tests of the supervisor: one task that sleeps, one that kills its worker."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import celery

app = celery.Celery("fake")
app.conf.update(broker_connection_retry_on_startup=True, task_ignore_result=True)


@app.task(name="hold")
def hold(started: str, release: str) -> None:
    """Create one file, then wait for another."""
    Path(started).touch()
    waiting = threading.Event()
    while not Path(release).exists():
        waiting.wait(0.02)
    Path(started).with_suffix(".done").touch()


@app.task(name="die")
def die() -> None:
    """Kill the worker as the kernel's memory killer would."""
    os.kill(os.getpid(), signal.SIGKILL)
