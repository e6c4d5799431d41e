"""The names of all keys in Redis, their types, their expiry and what else bounds them.

This is the only place that spells a key. Python asks a :class:`Namespace` for the name of a :class:`Key`; the Lua
scripts start with definitions that :func:`lua_definitions` makes from the same table; ``codeexec keys`` shows it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from codeexec_magic.contract import NAMESPACE_DEFAULT

#: where a part of a name stands, such as a task id
_PART: Final = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Key:
    """One kind of key."""

    id: str  #: Lua scripts call the key ``{id}_key``
    name: str  #: below ``codeexec:{namespace}:`` unless ``bare``; ids stand for what is in braces
    kind: str  #: type in Redis
    what: str  #: what it holds
    bound: str  #: what keeps it from growing for ever
    expires: bool = False  #: whether every such key has an expiry, at any time
    expiry_s: float = 0.0  #: the expiry in seconds; 0: none, or a setting decides it
    bare: bool = False  #: others know it by its bare name; only namespaces beside the default one put a prefix before
    database: str = "broker"  #: or ``results``

    @property
    def pattern(self) -> re.Pattern[str]:
        """Matches names of this kind, without any prefix."""
        parts = re.split(_PART.pattern.replace("(", "(?:"), self.name)
        return re.compile(".+".join(re.escape(part) for part in parts) + r"\Z", re.DOTALL)


#: the lists that Celery reads
MESSAGES: Final = Key("messages", "{queue}", "list", "Celery's messages: ids of waiting jobs", "max_queue", bare=True)
JOB: Final = Key(
    "job", "job:{id}", "hash", "the record of a job", "result TTL after the end; waiting ones max_queue, dead ones 1000"
)
EVENTS: Final = Key(
    "events",
    "events:{id}",
    "stream",
    "output and status events",
    "20,000 entries, output limit, of the last run only; result TTL after the end",
)
FOLLOWERS: Final = Key(
    "followers",
    "followers:{id}",
    "list",
    "identical jobs that wait for its answer",
    "max_queue; gone or expiring with it",
)
QUEUED: Final = Key(
    "queued", "queued:{queue}", "zset", "waiting jobs by time of publication", "max_queue; a job leaves when it begins"
)
RUNNING: Final = Key(
    "running",
    "running",
    "zset",
    "running jobs by end of lease",
    "a job leaves when its attempt ends; slots of all workers",
)
RETRYING: Final = Key(
    "retrying", "retrying", "zset", "jobs that wait for their next try, by due time", "a job leaves when it is due"
)
JOBS: Final = Key("jobs", "jobs", "zset", "all known jobs by submission", "pruned with the records")
FINISHED: Final = Key("finished", "finished", "zset", "ended jobs by end", "pruned with the records")
CACHE: Final = Key(
    "cache", "cache:{key}:{environment}", "hash", "the job that answers for identical ones", "cache TTL", expires=True
)
INFLIGHT: Final = Key(
    "inflight",
    "inflight:{queue}:{key}:{environment}",
    "string",
    "the job that runs for identical ones",
    "gone with its run",
)
WORKER: Final = Key(
    "worker",
    "worker:{id}",
    "hash",
    "what a worker says of itself",
    "60 s after its last heartbeat",
    expires=True,
    expiry_s=60.0,
)
WORKERS: Final = Key(
    "workers", "workers", "zset", "workers by last heartbeat", "a day", expires=True, expiry_s=86_400.0
)
LISTENERS: Final = Key(
    "listeners",
    "listeners:{queue}",
    "zset",
    "workers of a queue by last heartbeat",
    "60 s",
    expires=True,
    expiry_s=60.0,
)
QUEUES: Final = Key("queues", "queues", "hash", "what workers announced of each queue", "one field a queue")
ENVIRONMENTS: Final = Key(
    "environments", "environments", "hash", "fingerprint of each queue's environment", "one field a queue"
)
COUNTERS: Final = Key("counters", "counters", "hash", "totals and histograms", "one field for queue x reason x bucket")
SAMPLES: Final = Key(
    "samples",
    "samples",
    "list",
    "how the queues stood, every 5 s",
    "720 entries, an hour",
    expires=True,
    expiry_s=3600.0,
)
DEAD_LETTER_INDEX: Final = Key(
    "dead_letter_index", "dead_letter:index", "hash", "task id -> entry of the list", "max_dead_letters (1000)"
)
ALERTS: Final = Key(
    "alerts",
    "alerts",
    "zset",
    "dead letters nobody was told of yet",
    "an entry leaves when log and hook have it",
)
CLOCK: Final = Key(
    "clock", "clock", "string", "server time of the last repair", "an hour", expires=True, expiry_s=3600.0
)
RECONCILER: Final = Key(
    "reconciler", "reconciler", "string", "lock of the worker that repairs now", "0.9 s", expires=True, expiry_s=0.9
)
DEAD_LETTERS: Final = Key(
    "dead_letters", "dead_letter", "list", "jobs that gave up for good", "max_dead_letters (1000)", bare=True
)
BINDING_DEADLINES: Final = Key(
    "binding_deadlines",
    "_kombu.binding_deadlines",
    "zset",
    "Celery's own: when a binding is swept",
    "swept by kombu",
    bare=True,
)
PERMANENT_BINDINGS: Final = Key(
    "permanent_bindings",
    "_kombu.binding_permanent.{queue}",
    "set",
    "Celery's own: bindings never swept",
    "one a queue",
    bare=True,
)
BINDINGS: Final = Key(
    "bindings",
    "_kombu.binding.{exchange}",
    "set",
    "Celery's own: which queues exist",
    "queues; workers of a day",
    bare=True,
)
VALUE: Final = Key(
    "value",
    "value:{hash}",
    "hash",
    "a value: its chunks, or the place of its file",
    "waiting jobs that need it; then result or cache TTL",
)
VALUE_JOBS: Final = Key(
    "value_jobs", "value_jobs:{hash}", "set", "jobs that wait for a value", "a job leaves when it ends"
)
VALUE_UPLOAD: Final = Key(
    "value_upload", "value_upload:{id}", "hash", "a value on its way", "10 min", expires=True, expiry_s=600.0
)
VALUES: Final = Key("values", "values", "zset", "values by expiry", "a value leaves when it has expired")
VALUE_SIZES: Final = Key(
    "value_sizes", "value_sizes", "hash", "size of each value", "a value leaves when it has expired"
)
VALUE_BYTES: Final = Key("value_bytes", "value_bytes", "string", "size of all values together", "CODEEXEC_VALUES_MB")
LAST_INPUTS: Final = Key(
    "last_inputs", "last_inputs:{code}", "string", "hashes of a cell's last inputs", "cache TTL", expires=True
)
PACKAGES: Final = Key(
    "packages",
    "packages:{environment}",
    "string",
    "Python version, packages and modules of an environment",
    "a day after its last worker",
    expires=True,
    expiry_s=86_400.0,
)
CELERY_RESULT: Final = Key(
    "celery_result",
    "celery-task-meta-{id}",
    "string",
    "Celery's result of a job",
    "result TTL",
    expires=True,
    bare=True,
    database="results",
)
#: every kind of key; where a name could belong to two kinds, the first is meant
KEYS: Final = (
    MESSAGES,
    JOB,
    EVENTS,
    FOLLOWERS,
    QUEUED,
    RUNNING,
    RETRYING,
    JOBS,
    FINISHED,
    CACHE,
    INFLIGHT,
    WORKER,
    WORKERS,
    LISTENERS,
    QUEUES,
    ENVIRONMENTS,
    COUNTERS,
    SAMPLES,
    DEAD_LETTER_INDEX,
    ALERTS,
    CLOCK,
    RECONCILER,
    DEAD_LETTERS,
    BINDING_DEADLINES,
    PERMANENT_BINDINGS,
    BINDINGS,
    VALUE,
    VALUE_JOBS,
    VALUE_UPLOAD,
    VALUES,
    VALUE_SIZES,
    VALUE_BYTES,
    LAST_INPUTS,
    PACKAGES,
    CELERY_RESULT,
)
#: carries cancel orders to the workers; a channel keeps nothing, so it is no kind of key
CONTROL: Final = Key("control", "control", "channel", "cancel orders", "nothing is kept")


class Namespace:
    """The keys of the namespace ``name``."""

    def __init__(self, name: str) -> None:
        #: stands before every key of ours
        self.prefix = f"codeexec:{name}:"
        #: stands before keys that others know by bare names; two namespaces on one server share no list
        self.bare = "" if name == NAMESPACE_DEFAULT else self.prefix

    def prefix_of(self, key: Key) -> str:
        """What stands before the name of a kind of key."""
        if key.database == "results":
            return ""
        return self.bare if key.bare else self.prefix

    def key(self, key: Key, *parts: str) -> str:
        """The whole name of one key.

        Args:
            key: its kind.
            parts: what stands for the braces of the kind's name, in order.

        Raises:
            ValueError: there are more or fewer parts than braces.
        """
        wanted = len(_PART.findall(key.name))
        if len(parts) != wanted:
            raise ValueError(f"the key {key.name} takes {wanted} parts, not {len(parts)}")
        given = iter(parts)
        return self.prefix_of(key) + _PART.sub(lambda _: next(given), key.name)


def lua_definitions() -> str:
    """Lua source that defines the keys for scripts whose first two arguments are the prefixes of a namespace.

    ``running_key`` is a name, ``job_key(id)`` is a function because the name has a part, ``workers_expiry`` is the
    expiry of the key in milliseconds.
    """
    lines = ["local prefix, bare_prefix = ARGV[1], ARGV[2]"]
    for key in (*KEYS, CONTROL):
        if key.database != "broker":
            continue
        parts = _PART.findall(key.name)
        texts = _PART.split(key.name)
        # split() returns texts and parts in turns
        name = " .. ".join(
            ["bare_prefix" if key.bare else "prefix"]
            + [part if i % 2 else f"'{part}'" for i, part in enumerate(texts) if part]
        )
        if parts:
            lines.append(f"local function {key.id}_key({', '.join(parts)}) return {name} end")
        else:
            lines.append(f"local {key.id}_key = {name}")
        if key.expiry_s:
            lines.append(f"local {key.id}_expiry = {round(key.expiry_s * 1000)}")
    return "\n".join(lines) + "\n"
