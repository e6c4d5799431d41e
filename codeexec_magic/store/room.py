"""Makes room in a server whose memory is full: finished jobs lose their output, the oldest first.

What is left of such a job is its record, its outcome, the end of its event stream and a marker that tells every reader
what was removed. The cache does not answer with it any more.
"""

from __future__ import annotations

import json
from typing import Any, Final

from codeexec_magic.store.celery_results import SMALLEST, CeleryResults
from codeexec_magic.store.connection import broker_errors
from codeexec_magic.store.jobs import JobStore
from codeexec_magic.store.scripts import dumps

#: jobs that are trimmed between two looks at the memory
_BATCH: Final = 8
#: trimming goes on until this part of the memory is free
_FREE: Final = 0.15


class Room:
    """Trims finished jobs of one namespace.

    Args:
        store: of the job records.
        results: of Celery's own results, which hold the text of the output once more.
    """

    def __init__(self, store: JobStore, results: CeleryResults) -> None:
        self._store, self._results = store, results

    def make(self) -> bool:
        """Trim finished jobs until a part of the server's memory is free; whether any was trimmed.

        Raises:
            ClusterError: the server cannot be reached.
        """
        rank, trimmed = 0, False
        while rank >= 0 and not (trimmed and self._roomy()):
            rank, *jobs = self._store.call("oldest", rank, _BATCH, SMALLEST)
            done = [job[0] for job in jobs if self._trim(*job)]
            self._results.trim(done)
            trimmed = trimmed or bool(done)
        return trimmed

    def _trim(self, task_id: str, generation: str, output: int, result: str, request: str) -> bool:
        marker = dumps(removed(output))
        texts = (_without_values(result, output), _without_inputs(request))
        return bool(self._store.call("trim", task_id, generation, output, marker, *texts))

    def _roomy(self) -> bool:
        with broker_errors(self._store.url):
            memory: Any = self._store.redis.info("memory")
        return bool(memory["used_memory"] <= (1 - _FREE) * memory["maxmemory"])


def removed(size: int) -> dict[str, Any]:
    """The event that stands for output for which the server had no room.

    Args:
        size: in bytes.
    """
    return {"type": "truncated", "name": "output", "bytes": size, "why": "room"}


def _without_values(result: str, output: int) -> str:
    """The outcome without large values; it says what was removed. Empty for an outcome that cannot be read."""
    data = _json_object(result)
    if not data:
        return ""
    truncated = data.get("truncated")
    data["truncated"] = {**(truncated if isinstance(truncated, dict) else {}), "removed": output}
    if len(result) >= SMALLEST and data.get("values"):
        data["truncated"]["values"] = len(dumps(data["values"]))
        data["values"] = {}
    return dumps(data)


def _without_inputs(request: str) -> str:
    """The request of a job that is not run again, without its inputs. Empty for one that cannot be read."""
    data = _json_object(request)
    return dumps({**data, "inputs": {}}) if data else ""


def _json_object(text: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}
