"""Typed settings, read from the environment in one place.

Standard library only. Nothing here is read at import time: call :meth:`Settings.from_env` or
:meth:`WorkerSettings.from_env`, or build the dataclass directly (tests do). Each setting is declared once, with its
variable, unit and meaning; ``codeexec doctor --settings`` and ``docs/reference/settings.md`` are made from that.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from codeexec_magic import variable as v
from codeexec_magic.broker_url import BrokerURL
from codeexec_magic.contract import DEFAULT_LIMITS, NAMESPACE_DEFAULT, QUEUE_DEFAULT, QUEUE_HEAVY
from codeexec_magic.errors import BadSetting
from codeexec_magic.limits import Limits
from codeexec_magic.variable import Variable, read, setting

_BROKER: Final = Variable(
    "CELERY_BROKER_URL",
    v.broker,
    "URL of the Redis or Valkey server. Without it, the embedded cluster is used.",
    default="the embedded cluster",
    secret=True,
)
_RESULTS: Final = Variable(
    "CELERY_RESULT_BACKEND",
    v.broker,
    "URL of the database with Celery's results.",
    default="database 1 of the broker's server",
    secret=True,
)
_NAMESPACE: Final = Variable("CODEEXEC_NAMESPACE", v.namespace, "Part of every key; workers and clients must agree.")
_CODE_KB: Final = Variable("CODEEXEC_MAX_CODE_KB", v.whole, "Largest source of a cell that is accepted.", "KB")
_CACHE_TTL: Final = Variable("CODEEXEC_CACHE_TTL_S", v.seconds, "How long a cached result is used.", "s")
_RESULT_TTL: Final = Variable(
    "CODEEXEC_RESULT_TTL_S", v.seconds, "How long finished jobs and their output are kept.", "s"
)
_RETRIES: Final = Variable("CODEEXEC_RETRIES", v.count, "Runs after a first one that failed, unless the job says.")
_WAITS: Final = Variable(
    "CODEEXEC_RETRY_WAITS_S", v.waits, "Wait before each retry, each 20 % longer or shorter; the last repeats.", "s"
)
_LEASE: Final = Variable(
    "CODEEXEC_LEASE_S", v.seconds, "A worker that is silent for this long is taken for dead; its cells run again.", "s"
)
_MAX_QUEUE: Final = Variable("CODEEXEC_MAX_QUEUE", v.whole, "Length of a queue at which submissions are refused.")
_LETTERS: Final = Variable("CODEEXEC_MAX_DEAD_LETTERS", v.whole, "Dead letters that are kept; the oldest go first.")
_ARTIFACTS: Final = Variable(
    "CODEEXEC_ARTIFACTS",
    v.artifacts,
    "fsspec URL of a folder for large values, such as file:///srv/values or s3://bucket/values; it needs fsspec.",
    default="none: they are kept in Redis",
    secret=True,
)
_REDIS_VALUE: Final = Variable(
    "CODEEXEC_REDIS_VALUE_MB", v.whole, "Values above this size are kept in CODEEXEC_ARTIFACTS, if it is set.", "MB"
)
_MAX_VALUE: Final = Variable("CODEEXEC_MAX_VALUE_MB", v.whole, "Largest value that is sent or comes back.", "MB")
_VALUES: Final = Variable(
    "CODEEXEC_VALUES_MB", v.whole, "Room for all values together; when full, none is taken.", "MB"
)
_CRASHES: Final = Variable("CODEEXEC_MAX_CRASHES", v.whole, "Deaths of workers after which a job is dead-lettered.")


@dataclass(frozen=True)
class Settings:
    """What clients and workers read."""

    broker_url: str | None = setting(_BROKER, None)
    result_backend: str | None = setting(_RESULTS, None)
    namespace: str = setting(_NAMESPACE, NAMESPACE_DEFAULT)
    code_kb: int = setting(_CODE_KB, 1024)
    cache_ttl_s: float = setting(_CACHE_TTL, 3600.0)
    result_ttl_s: float = setting(_RESULT_TTL, 3600.0)
    retries: int = setting(_RETRIES, 3)
    retry_waits_s: tuple[float, ...] = setting(_WAITS, (5.0, 25.0, 125.0))
    lease_s: float = setting(_LEASE, 8.0)
    max_queue: int = setting(_MAX_QUEUE, 1_000_000)
    dead_letters: int = setting(_LETTERS, 1000)
    max_crashes: int = setting(_CRASHES, 3)
    artifacts: str | None = setting(_ARTIFACTS, None)
    redis_value_mb: int = setting(_REDIS_VALUE, 32)
    max_value_mb: int = setting(_MAX_VALUE, 512)
    values_mb: int = setting(_VALUES, 2048)

    def __post_init__(self) -> None:
        for url in (self.broker_url, self.result_backend):
            if url is not None:
                BrokerURL.parse(url)
        try:
            v.namespace(self.namespace)
        except ValueError as err:
            raise BadSetting(f"namespace {self.namespace!r}: {err}") from None

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Settings:
        """Read the environment (``os.environ`` by default).

        Raises:
            BadSetting: a variable has a value that makes no sense; the message names it.
        """
        return cls(**read(Settings, os.environ if env is None else env))


#: what a worker grants at most unless its settings say otherwise
DEFAULT_CEILING: Final = Limits(
    soft_s=DEFAULT_LIMITS[QUEUE_HEAVY].hard_s,
    hard_s=DEFAULT_LIMITS[QUEUE_HEAVY].hard_s + 60,
    cpu_s=DEFAULT_LIMITS[QUEUE_HEAVY].hard_s + 60,
    memory_mb=4096,
    processes=64,
    tasks=4096,
    file_mb=1024,
    disk_mb=2048,
    inodes=100_000,
    output_kb=16_384,
    descriptors=1024,
    shm_mb=512,
)


#: what a cell may ask for at most, by field of :class:`~codeexec_magic.limits.Limits`
CEILING: Final[Mapping[str, Variable]] = {
    "hard_s": Variable("CODEEXEC_MAX_SECONDS", v.whole, "Wall and processor time that a cell may ask for.", "s"),
    "memory_mb": Variable("CODEEXEC_MAX_MEMORY_MB", v.whole, "Memory that a cell may ask for.", "MB"),
    "processes": Variable("CODEEXEC_MAX_PROCESSES", v.whole, "Processes that a cell may ask for."),
    "tasks": Variable("CODEEXEC_MAX_TASKS", v.whole, "Threads of all its processes that a cell may ask for."),
    "file_mb": Variable("CODEEXEC_MAX_FILE_MB", v.whole, "Size of one file that a cell may ask for.", "MB"),
    "disk_mb": Variable("CODEEXEC_MAX_DISK_MB", v.whole, "Size of all files that a cell may ask for.", "MB"),
    "output_kb": Variable("CODEEXEC_MAX_OUTPUT_KB", v.whole, "Output that a cell may ask for.", "KB"),
}

_SLOTS: Final = Variable("CODEEXEC_SLOTS", v.whole, "Cells at a time.", default="number of processors")
_QUEUES: Final = Variable("CODEEXEC_QUEUES", v.names, "Queues that the worker serves, separated by commas.")
_PYTHON: Final = Variable(
    "CODEEXEC_PYTHON", v.text, "Interpreter of the cells; it needs IPython.", default="the worker's own"
)
_PRELOAD: Final = Variable(
    "CODEEXEC_PRELOAD", v.names, "Modules imported once for all cells, where they are installed."
)
_ISOLATION: Final = Variable(
    "CODEEXEC_REQUIRED_ISOLATION", v.level, "Isolation level below which the worker takes no cells: 0, 1 or 2."
)
_NETWORK: Final = Variable(
    "CODEEXEC_ALLOW_NETWORK",
    v.switch,
    "Whether cells may ask for network access; it needs CODEEXEC_ALLOW_LOOPBACK, too.",
)
_LOOPBACK: Final = Variable(
    "CODEEXEC_ALLOW_LOOPBACK", v.switch, "Whether cells with network access may reach this machine's loopback address."
)
_FREE_DISK: Final = Variable("CODEEXEC_MIN_FREE_DISK_MB", v.whole, "Free disk below which the worker waits.", "MB")
_GRACE: Final = Variable(
    "CODEEXEC_GRACE_S", v.seconds, "At a warm shutdown cells get this long to finish; then they are queued again.", "s"
)
_ALERT: Final = Variable(
    "CODEEXEC_ALERT",
    v.text,
    "Command or http(s) URL that is told of every new dead letter.",
    default="none",
    secret=True,
)
_FAST_FORK: Final = Variable(
    "CODEEXEC_FAST_FORK", v.switch, "Whether the sandbox tunes its memory for quick forks; 0 is slower and simpler."
)
_EVENTS: Final = Variable("CODEEXEC_EVENTS", v.switch, "Whether Celery's task events are sent, for Flower.")
_LOG_CODE: Final = Variable("CODEEXEC_LOG_CODE", v.switch, "Whether code and output of cells stand in the log.")


@dataclass(frozen=True)
class WorkerSettings(Settings):
    """What workers read besides. Limits belong to the worker: a request may ask for less, never for more."""

    slots: int = setting(_SLOTS, factory=lambda: os.cpu_count() or 1)
    queues: tuple[str, ...] = setting(_QUEUES, (QUEUE_DEFAULT,))
    python: str | None = setting(_PYTHON, None)
    preload: tuple[str, ...] = setting(_PRELOAD, ("numpy", "pandas", "matplotlib.pyplot"))
    required_isolation: int = setting(_ISOLATION, 1)
    allow_network: bool = setting(_NETWORK, False)
    allow_loopback: bool = setting(_LOOPBACK, False)
    ceiling: Limits = DEFAULT_CEILING  #: from the variables of :data:`CEILING`
    free_disk_mb: int = setting(_FREE_DISK, 512)
    grace_s: float = setting(_GRACE, 20.0)
    alert: str | None = setting(_ALERT, None)
    fast_fork: bool = setting(_FAST_FORK, True)
    events: bool = setting(_EVENTS, False)
    log_code: bool = setting(_LOG_CODE, False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.allow_network and not self.allow_loopback:
            # the cell shares the network of the worker's machine, where nothing walls off a single address
            raise BadSetting(
                "CODEEXEC_ALLOW_NETWORK=1 lets cells reach the services on this machine's loopback address, such as a "
                "broker: set CODEEXEC_ALLOW_LOOPBACK=1, too, if you accept that, or run the worker where there are none"
            )

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> WorkerSettings:
        """Read the environment (``os.environ`` by default).

        Raises:
            BadSetting: a variable has a value that makes no sense; the message names it.
        """
        env = os.environ if env is None else env
        asked = {
            name: v.value_of(variable, env[variable.name])
            for name, variable in CEILING.items()
            if env.get(variable.name, "") != ""
        }
        if "hard_s" in asked:
            asked["soft_s"] = asked["cpu_s"] = asked["hard_s"]
        return cls(**read(cls, env), ceiling=Limits(**{**DEFAULT_CEILING.as_dict(), **asked}))


_HOME: Final = Variable(
    "CODEEXEC_HOME", v.text, "Directory of the embedded cluster.", default="one per user and Python environment"
)
_IDLE: Final = Variable(
    "CODEEXEC_IDLE_S", v.seconds, "The embedded cluster stops after this long without clients and work.", "s"
)
_SERVER_MEMORY: Final = Variable(
    "CODEEXEC_SERVER_MEMORY_MB", v.whole, "Memory of the embedded server; when full, submissions are refused.", "MB"
)


@dataclass(frozen=True)
class ClusterSettings:
    """What the embedded cluster reads."""

    home: str | None = setting(_HOME, None)
    idle_s: float = setting(_IDLE, 900.0)
    server_memory_mb: int = setting(_SERVER_MEMORY, 256)

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> ClusterSettings:
        """Read the environment (``os.environ`` by default).

        Raises:
            BadSetting: a variable has a value that makes no sense; the message names it.
        """
        return cls(**read(cls, os.environ if env is None else env))
