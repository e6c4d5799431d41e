"""Queues, workers and jobs as a whole."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from codeexec_magic.contract import QUEUES
from codeexec_magic.errors import JobNotFound
from codeexec_magic.limits import Limits
from codeexec_magic.store.connection import broker_errors
from codeexec_magic.store.jobs import JobStore
from codeexec_magic.store.keys import DEAD_LETTER_INDEX, JOB, JOBS, LISTENERS, QUEUED, WORKER, WORKERS
from codeexec_magic.store.keys import QUEUES as ANNOUNCED
from codeexec_magic.store.record import number
from codeexec_magic.store.scripts import LISTENING_S
from codeexec_magic.store.snapshot import JobState


@dataclass(frozen=True)
class QueueInfo:
    """One queue."""

    name: str
    depth: int  #: waiting jobs
    oldest_s: float | None  #: since the first in line was queued
    listeners: int  #: live workers
    ceiling: Limits | None = None  #: what its workers grant at most, once one has said so


@dataclass(frozen=True)
class WorkerInfo:
    """One worker."""

    id: str
    seen_s: float  #: since its last heartbeat
    queues: tuple[str, ...]
    slots: int
    busy: int
    about: Mapping[str, str] = field(default_factory=dict)  #: everything it says of itself

    @property
    def alive(self) -> bool:
        """Whether it was heard of lately."""
        return self.seen_s <= LISTENING_S


def known_queues(store: JobStore) -> tuple[str, ...]:
    """The queues of every deployment and those that workers announced."""
    with broker_errors(store.url):
        announced: Any = store.redis.hkeys(store.key(ANNOUNCED))
    return (*QUEUES, *sorted(set(announced) - set(QUEUES)))


def ceiling(store: JobStore, queue: str) -> Limits | None:
    """What the workers of ``queue`` grant at most; None while none has said so."""
    with broker_errors(store.url):
        about: Any = store.redis.hget(store.key(ANNOUNCED), queue)
    return _ceiling(about)


def queues(store: JobStore) -> list[QueueInfo]:
    """All queues, in one pipelined read after the list of their names."""
    names = known_queues(store)
    now = store.now()
    pipe = store.redis.pipeline(transaction=False)
    for name in names:
        pipe.zcard(store.key(QUEUED, name))
        pipe.zrange(store.key(QUEUED, name), 0, 0, withscores=True)
        pipe.zcount(store.key(LISTENERS, name), now - LISTENING_S * 1000, "+inf")
        pipe.hget(store.key(ANNOUNCED), name)
    with broker_errors(store.url):
        read = pipe.execute()
    found = []
    for i, name in enumerate(names):
        depth, first, listeners, about = read[4 * i : 4 * i + 4]
        oldest = max(0.0, (now - first[0][1]) / 1000) if first else None
        found.append(QueueInfo(name, depth, oldest, listeners, _ceiling(about)))
    return found


def workers(store: JobStore) -> list[WorkerInfo]:
    """Workers heard of within a day, the latest first."""
    now = store.now()
    with broker_errors(store.url):
        seen: Any = store.redis.zrevrange(store.key(WORKERS), 0, 199, withscores=True)
        pipe = store.redis.pipeline(transaction=False)
        for worker, _ in seen:
            pipe.hgetall(store.key(WORKER, worker))
        records = pipe.execute()
    found = []
    for (worker, score), record in zip(seen, records, strict=True):
        names = tuple(name for name in record.get("queues", "").split(",") if name)
        slots, busy = (number(record, key) for key in ("slots", "busy"))
        found.append(WorkerInfo(worker, max(0.0, (now - score) / 1000), names, slots, busy, record))
    return found


def jobs(store: JobStore, limit: int = 50) -> list[JobState]:
    """The latest jobs, newest first; expired ones are left out."""
    with broker_errors(store.url):
        ids: Any = store.redis.zrevrange(store.key(JOBS), 0, limit - 1)
    states = []
    for task_id in ids:
        try:
            states.append(store.snapshot(task_id).state())
        except JobNotFound:
            continue  # expired, and not yet pruned from the index
    return states


def find(store: JobStore, prefix: str) -> str:
    """The id of the one job whose id starts with ``prefix``.

    Raises:
        JobNotFound: none, or several.
    """
    with broker_errors(store.url):
        if store.redis.exists(store.key(JOB, prefix)):
            return prefix
        ids: Any = store.redis.zrevrange(store.key(JOBS), 0, 9999)
        # these are kept until somebody looks after them, however many jobs came since
        dead: Any = store.redis.hkeys(store.key(DEAD_LETTER_INDEX))
    matches = [task_id for task_id in {*ids, *dead} if task_id.startswith(prefix)] if prefix else []
    if len(matches) == 1:
        return str(matches[0])
    if not matches:
        raise JobNotFound(f"no job {prefix} (finished jobs are kept for {store.settings.result_ttl_s / 60:.0f} min)")
    raise JobNotFound(f"{len(matches)} jobs start with {prefix}: give more of the id")


def _ceiling(about: str | None) -> Limits | None:
    try:
        return Limits.from_dict(json.loads(about)["ceiling"]) if about else None
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError):
        return None  # an announcement of a newer worker: it enforces its ceiling itself
