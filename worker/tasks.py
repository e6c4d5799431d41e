"""The Celery task: decode, begin, run, publish, finish. Nothing but data ever leaves it."""

from __future__ import annotations

import logging

from celery import shared_task

from codeexec_magic.contract import TASK_NAME

log = logging.getLogger("codeexec")


@shared_task(name=TASK_NAME, ignore_result=True)  # type: ignore[untyped-decorator]
def execute(task_id: str, generation: int) -> None:
    """Run the job ``task_id`` if this message is the current one.

    A MemoryError or SystemExit that leaves a task ends or wedges Celery's worker (its request handler raises the one
    again and its thread pool cannot unpack the other), so nothing does.
    """
    from worker.app import runtime
    from worker.attempt import Attempt

    try:
        Attempt(runtime, str(task_id), int(generation)).run()
    except BaseException:
        log.exception("job %.40s could not be handled; its lease will run out and another worker takes it", task_id)
