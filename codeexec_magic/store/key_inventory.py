"""Counts what is in the server of every kind of key in :mod:`codeexec_magic.store.keys`, for ``codeexec keys``."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import redis

from codeexec_magic.store.celery_results import CeleryResults
from codeexec_magic.store.connection import broker_errors
from codeexec_magic.store.jobs import JobStore
from codeexec_magic.store.keys import KEYS, MESSAGES, Key
from codeexec_magic.store.queries import known_queues


@dataclass(frozen=True)
class Held:
    """What is there of one kind of key."""

    key: Key
    count: int  #: keys
    expiries_s: list[float]  #: of those that have one


def kind_of(name: str, store: JobStore, queues: Collection[str], database: str = "broker") -> Key | None:
    """The kind a key of the store's namespace belongs to; None for one that is not in the inventory.

    Args:
        name: the whole key.
        store: of the namespace.
        queues: whose lists are called like themselves.
        database: where it was found, ``broker`` or ``results``.
    """
    for key in KEYS:
        prefix = store.namespace.prefix_of(key)
        below = name.removeprefix(prefix)
        if key.database != database or len(prefix) + len(below) != len(name):
            continue
        if below in queues if key is MESSAGES else key.pattern.match(below):
            return key
    return None


def survey(store: JobStore, results: CeleryResults) -> list[Held]:
    """Counts the keys of our namespace by kind, in the inventory's order.

    Raises:
        ClusterError: the server cannot be reached.
    """
    found: dict[Key, list[float]] = {key: [] for key in KEYS}
    queues = known_queues(store)
    for client, database, url in ((store.redis, "broker", store.url), (results.redis, "results", results.url)):
        with broker_errors(url):
            for name, ttl in _expiries(client):
                if (key := kind_of(name, store, queues, database)) is not None:
                    found[key].append(ttl)
    return [Held(key, len(ttls), [ttl for ttl in ttls if ttl >= 0]) for key, ttls in found.items()]


def _expiries(client: redis.Redis) -> list[tuple[str, float]]:
    read: list[tuple[str, float]] = []
    cursor: Any = 0
    while True:
        names: list[str]  # replies are decoded
        cursor, names = client.scan(cursor, count=1000)  # type: ignore[assignment]
        pipe = client.pipeline(transaction=False)
        for name in names:
            pipe.pttl(name)
        read += [(name, ttl / 1000) for name, ttl in zip(names, pipe.execute(), strict=True) if ttl != -2]
        if not int(cursor):
            return read
