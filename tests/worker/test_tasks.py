"""The Celery task and its request class."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from celery import Celery
from celery.worker.request import create_request_cls
from kombu.asynchronous import Hub, get_event_loop, set_event_loop

from worker.tasks import WakingRequest


class Received:
    """What Celery keeps of a received message."""

    id = "one"


class Pool:
    """What Celery asks of a pool when it makes a request class."""

    def apply_async(self, *_: Any, **__: Any) -> None:
        """Run a task."""


def test_a_finished_request_wakes_the_loop() -> None:
    """Celery's own subclass of the request class, which replaces on_success, wakes the event loop too."""
    before, hub = get_event_loop(), Hub()
    set_event_loop(hub)
    try:
        task = SimpleNamespace(time_limit=None, soft_time_limit=None, acks_late=False)
        app = Celery("test", set_as_current=False)
        derived = create_request_cls(WakingRequest, task, Pool(), "host", None, app=app)
        derived.on_success(Received(), (False, None, 0.0))
        assert len(hub._ready) == 1
    finally:
        hub.close()
        set_event_loop(before)
