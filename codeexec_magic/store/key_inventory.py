"""Every key we or Celery write to the server, and what keeps it from growing for ever; ``codeexec keys`` shows them."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

import redis

from codeexec_magic.store.celery_results import CeleryResults
from codeexec_magic.store.connection import broker_errors
from codeexec_magic.store.jobs import JobStore
from codeexec_magic.store.queries import known_queues


@dataclass(frozen=True)
class Key:
    """One kind of key."""

    name: str  #: below ``codeexec:{namespace}:`` unless ``bare``; ids stand for what is in braces
    kind: str  #: type in Redis
    what: str  #: what it holds
    bound: str  #: what keeps it from growing for ever
    expires: bool = False  #: whether every such key has an expiry, at any time
    bare: bool = False  #: known to others by its bare name; with the prefix of its namespace but in the default one
    database: str = "broker"  #: or ``results``

    @property
    def pattern(self) -> re.Pattern[str]:
        """Of the name, without any prefix."""
        parts = re.split(r"\{\w+\}", self.name)
        return re.compile(".+".join(re.escape(part) for part in parts) + r"\Z", re.DOTALL)


#: the lists that Celery reads
MESSAGES: Final = Key("{queue}", "list", "Celery's messages: ids of waiting jobs", "max_queue", bare=True)
#: the more particular name first
KEYS: Final = (
    MESSAGES,
    Key("job:{id}", "hash", "the record of a job", "result TTL after the end; waiting ones max_queue, dead ones 1000"),
    Key("events:{id}", "stream", "output and status events", "20,000 entries, output limit; result TTL after the end"),
    Key("followers:{id}", "list", "identical jobs that wait for its answer", "max_queue; gone or expiring with it"),
    Key("queued:{queue}", "zset", "waiting jobs by time of publication", "max_queue; a job leaves when it begins"),
    Key("running", "zset", "running jobs by end of lease", "a job leaves when its attempt ends; slots of all workers"),
    Key("retrying", "zset", "jobs that wait for their next try, by due time", "a job leaves when it is due"),
    Key("jobs", "zset", "all known jobs by submission", "pruned with the records"),
    Key("finished", "zset", "ended jobs by end", "pruned with the records"),
    Key("cache:{key}:{environment}", "hash", "the job that answers for identical ones", "cache TTL", expires=True),
    Key("inflight:{queue}:{key}:{environment}", "string", "the job that runs for identical ones", "gone with its run"),
    Key("worker:{id}", "hash", "what a worker says of itself", "60 s after its last heartbeat", expires=True),
    Key("workers", "zset", "workers by last heartbeat", "a day", expires=True),
    Key("listeners:{queue}", "zset", "workers of a queue by last heartbeat", "60 s", expires=True),
    Key("queues", "hash", "what workers announced of each queue", "one field a queue"),
    Key("environments", "hash", "fingerprint of each queue's environment", "one field a queue"),
    Key("counters", "hash", "totals and histograms", "one field for queue x reason x bucket"),
    Key("samples", "list", "how the queues stood, every 5 s", "720 entries, an hour", expires=True),
    Key("dead_letter:index", "hash", "task id -> entry of the list", "max_dead_letters (1000)"),
    Key("alerts", "zset", "dead letters nobody was told of yet", "an entry leaves when log and hook have it"),
    Key("clock", "string", "server time of the last repair", "an hour", expires=True),
    Key("reconciler", "string", "lock of the worker that repairs now", "0.9 s", expires=True),
    Key("dead_letter", "list", "jobs that gave up for good", "max_dead_letters (1000)", bare=True),
    Key("_kombu.binding_deadlines", "zset", "Celery's own: when a binding is swept", "swept by kombu", bare=True),
    Key("_kombu.binding_permanent.{queue}", "set", "Celery's own: bindings never swept", "one a queue", bare=True),
    Key("_kombu.binding.{exchange}", "set", "Celery's own: which queues exist", "queues; workers of a day", bare=True),
    Key("celery-task-meta-{id}", "string", "Celery's result of a job", "result TTL", expires=True, database="results"),
)


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
        prefix = "" if database == "results" else store.bare if key.bare else store.prefix
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
