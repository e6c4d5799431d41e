"""Celery's own result of a job, so that ``AsyncResult``, ``celery result`` and Flower show something true.

Outcomes are made in several places (a worker, a cache hit, a cancellation without any worker), so the entry is written
here, in the format of Celery's Redis backend, rather than by Celery's task tracer, which knows only one of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from codeexec_magic.contract import ExecutionResult
from codeexec_magic.settings import Settings
from codeexec_magic.store.connection import broker_errors, connect


class CeleryResults:
    """Writer of Celery result entries.

    Args:
        url: result backend URL.
        settings: expiry.
    """

    def __init__(self, url: str, settings: Settings) -> None:
        self.url, self.settings = url, settings
        self.redis = connect(url)

    def record(self, results: Iterable[ExecutionResult]) -> None:
        """Store and announce outcomes; a failed cell is a result too, so the Celery state is always SUCCESS."""
        pipe = self.redis.pipeline(transaction=False)
        for result in results:
            key = f"celery-task-meta-{result.task_id}"
            value = json.dumps(
                {
                    "status": "SUCCESS",
                    "result": result.as_dict(outputs=False),
                    "traceback": None,
                    "children": [],
                    "date_done": result.timestamp,
                    "task_id": result.task_id,
                }
            )
            pipe.set(key, value, px=round(self.settings.result_ttl_s * 1000))
            pipe.publish(key, value)
        with broker_errors(self.url):
            pipe.execute()

    def missing(self, task_ids: list[str]) -> list[str]:
        """Those of ``task_ids`` that have no entry."""
        pipe = self.redis.pipeline(transaction=False)
        for task_id in task_ids:
            pipe.exists(f"celery-task-meta-{task_id}")
        with broker_errors(self.url):
            found = pipe.execute()
        return [task_id for task_id, there in zip(task_ids, found, strict=True) if not there]

    def close(self) -> None:
        """Close the connections."""
        self.redis.close()
