"""The Celery task: decode, begin, run, publish, finish. Nothing but data ever leaves it."""

from __future__ import annotations

import logging
from typing import Any

from celery import shared_task
from celery.worker.request import Request
from kombu.asynchronous import get_event_loop

from codeexec_magic.contract import TASK_NAME

log = logging.getLogger("codeexec")


class WakingRequest(Request):  # type: ignore[misc]
    """Tells the worker's event loop that a slot is free, so that it reads the next message now."""

    def __init_subclass__(cls, **options: Any) -> None:
        # Celery derives a class for every task, whose own on_success calls no other one
        super().__init_subclass__(**options)
        succeed = cls.on_success

        def on_success(self: WakingRequest, *arguments: Any, **options: Any) -> None:
            """The task returned."""
            try:
                succeed(self, *arguments, **options)
            finally:
                _wake()

        cls.on_success = on_success

    def cancel(self, *_: Any, **__: Any) -> None:
        """A cold shutdown: Celery would kill the thread, which it cannot, and die of that."""
        from worker.app import runtime

        runtime.drain(now=True)

    def on_failure(self, *arguments: Any, **options: Any) -> None:
        """The task raised, which ours does not."""
        super().on_failure(*arguments, **options)
        _wake()


def _wake() -> None:
    loop = get_event_loop()
    if loop is not None:
        loop.call_soon(lambda: None)


@shared_task(name=TASK_NAME, ignore_result=True, Request=WakingRequest)  # type: ignore[untyped-decorator]
def execute(task_id: str, generation: int) -> None:
    """Run the job ``task_id`` if this message is the current one.

    A MemoryError or SystemExit that leaves a task ends or wedges Celery's worker (its request handler raises the one
    again and its thread pool cannot unpack the other), so nothing does.
    """
    from worker.app import runtime
    from worker.attempt import Attempt

    try:
        Attempt(runtime.context, str(task_id), int(generation)).run()
    except BaseException:
        log.exception("job %.40s could not be handled; its lease will run out and another worker takes it", task_id)
