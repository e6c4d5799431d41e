"""Celery's own result of a job, so that ``AsyncResult``, ``celery result`` and Flower show something true.

Outcomes are made in several places (a worker, a cache hit, a cancellation without any worker), so the entry is written
here, in the format of Celery's Redis backend, rather than by Celery's task tracer, which knows only one of them.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterable
from typing import Final

from codeexec_magic.contract import ExecutionResult
from codeexec_magic.errors import ClusterError
from codeexec_magic.settings import Settings
from codeexec_magic.store.connection import broker_errors, connect
from codeexec_magic.store.keys import CELERY_RESULT, Namespace

log = logging.getLogger("codeexec")

#: an entry that takes less is left as it is (bytes)
SMALLEST: Final = 16_384
# a full server lets a script write that has deleted something before
_REPLACE: Final = """
local ttl = redis.call('PTTL', KEYS[1])
if redis.call('DEL', KEYS[1]) == 1 and ttl > 0 then redis.call('SET', KEYS[1], ARGV[1], 'PX', ttl) end
"""
#: how long an entry waits for others to share its round trip with (seconds); shorter than that, a writer is at work
#: during most of a row of cached answers, each of which then waits for the interpreter lock
_PAUSE_S = 0.05


class CeleryResults:
    """Writer of Celery result entries.

    Args:
        url: result backend URL.
        settings: expiry.
    """

    def __init__(self, url: str, settings: Settings) -> None:
        self.url, self.settings = url, settings
        self.redis = connect(url)
        self._keys = Namespace(settings.namespace)
        self._lock = threading.Lock()
        self._waiting: list[ExecutionResult] = []
        self._writer: threading.Thread | None = None

    def record_soon(self, result: ExecutionResult) -> None:
        """Store and announce an outcome without keeping the caller: half the time of a cached answer went here.

        What a failure leaves out, a worker's reconciler writes later.
        """
        with self._lock:
            self._waiting.append(result)
            if self._writer is None:
                # no daemon: what is waiting is written before the process ends
                self._writer = threading.Thread(target=self._write, name="codeexec-results")
                self._writer.start()

    def flush(self) -> None:
        """Return when nothing waits any more."""
        with self._lock:
            writer = self._writer
        if writer is not None:
            writer.join()

    def _write(self) -> None:
        while True:
            time.sleep(_PAUSE_S)
            with self._lock:
                results, self._waiting = self._waiting, []
                if not results:
                    self._writer = None
                    return
            try:
                self.record(results)
            except ClusterError as err:
                log.debug("no Celery result for %d job(s) yet: %s", len(results), err)
            except Exception:
                # this thread is to write those of others too
                log.exception("%d Celery result(s) could not be written", len(results))

    def record(self, results: Iterable[ExecutionResult]) -> None:
        """Store and announce outcomes; a failed cell is a result too, so the Celery state is always SUCCESS."""
        pipe = self.redis.pipeline(transaction=False)
        for result in results:
            key = self._keys.key(CELERY_RESULT, result.task_id)
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

    def trim(self, task_ids: Iterable[str]) -> None:
        """Remove the output of these jobs from their entries, which works in a full server, too."""
        for task_id in task_ids:
            key = self._keys.key(CELERY_RESULT, task_id)
            with broker_errors(self.url):
                text = self.redis.get(key)
                if text is None or len(text) < SMALLEST:
                    continue
                try:
                    entry = json.loads(text)
                    truncated = {**entry["result"]["truncated"], "removed": len(text)}
                    entry["result"] |= {"stdout": "", "stderr": "", "values": {}, "truncated": truncated}
                except (ValueError, RecursionError, KeyError, TypeError):
                    continue  # not one of ours
                self.redis.eval(_REPLACE, 1, key, json.dumps(entry))

    def missing(self, task_ids: list[str]) -> list[str]:
        """Those of ``task_ids`` that have no entry."""
        pipe = self.redis.pipeline(transaction=False)
        for task_id in task_ids:
            pipe.exists(self._keys.key(CELERY_RESULT, task_id))
        with broker_errors(self.url):
            found = pipe.execute()
        return [task_id for task_id, there in zip(task_ids, found, strict=True) if not there]

    def close(self) -> None:
        """Write what waits and close the connections."""
        self.flush()
        self.redis.close()
