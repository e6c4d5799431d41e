"""Typed settings, read from the environment in one place.

Standard library only. Nothing here is read at import time: call :meth:`Settings.from_env` or
:meth:`WorkerSettings.from_env`, or build the dataclass directly (tests do).
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from codeexec_magic.contract import DEFAULT_LIMITS, NAMESPACE_DEFAULT, QUEUE_DEFAULT, QUEUE_HEAVY
from codeexec_magic.errors import BadSetting, DecodeError
from codeexec_magic.limits import Limits

SCHEMES: Final = ("redis", "rediss", "redis+socket")


@dataclass(frozen=True)
class Settings:
    """What client and worker share. Every field has an environment variable, named in brackets."""

    broker_url: str | None = None  #: [CELERY_BROKER_URL] None: the embedded cluster
    result_backend: str | None = None  #: [CELERY_RESULT_BACKEND] None: the broker's server, database 1
    namespace: str = NAMESPACE_DEFAULT  #: [CODEEXEC_NAMESPACE]
    code_kb: int = 1024  #: [CODEEXEC_MAX_CODE_KB] largest source accepted
    cache_ttl_s: float = 3600.0  #: [CODEEXEC_CACHE_TTL_S]
    result_ttl_s: float = 3600.0  #: [CODEEXEC_RESULT_TTL_S] how long finished jobs and their output are kept
    retries: int = 3  #: [CODEEXEC_RETRIES] runs after a first failed one, where the job does not say
    retry_waits_s: tuple[float, ...] = (5.0, 25.0, 125.0)  #: [CODEEXEC_RETRY_WAITS_S] before each, +-20 %
    lease_s: float = 8.0  #: [CODEEXEC_LEASE_S] a worker silent for this long is taken for dead
    max_queue: int = 1_000_000  #: [CODEEXEC_MAX_QUEUE] submissions beyond this length of a queue are refused
    dead_letters: int = 1000  #: [CODEEXEC_MAX_DEAD_LETTERS] kept entries; older ones are trimmed and counted
    max_crashes: int = 3  #: [CODEEXEC_MAX_CRASHES] worker deaths after which a job is a poison pill

    def __post_init__(self) -> None:
        for url in (self.broker_url, self.result_backend):
            if url is not None:
                check_url(url)
        if not self.namespace or not all(c.isalnum() or c in "-_." for c in self.namespace):
            raise BadSetting(f"namespace {self.namespace!r}: use letters, digits, '-', '_' and '.' only")

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Settings:
        """Read the environment (``os.environ`` by default).

        Raises:
            BadSetting: a variable has a value that makes no sense; the message names it.
        """
        return cls(**_shared(os.environ if env is None else env))


#: what a worker grants at most unless its settings say otherwise
DEFAULT_CEILING: Final = Limits(
    soft_s=DEFAULT_LIMITS[QUEUE_HEAVY].hard_s,
    hard_s=DEFAULT_LIMITS[QUEUE_HEAVY].hard_s + 60,
    cpu_s=DEFAULT_LIMITS[QUEUE_HEAVY].hard_s + 60,
    memory_mb=4096,
    processes=64,
    file_mb=1024,
    disk_mb=2048,
    inodes=100_000,
    output_kb=16_384,
    descriptors=1024,
    shm_mb=512,
)


@dataclass(frozen=True)
class WorkerSettings(Settings):
    """What only a worker reads. Limits belong to the worker: a request may ask for less, never for more."""

    slots: int = field(default_factory=lambda: os.cpu_count() or 1)  #: [CODEEXEC_SLOTS] cells at a time
    queues: tuple[str, ...] = (QUEUE_DEFAULT,)  #: [CODEEXEC_QUEUES]
    python: str | None = None  #: [CODEEXEC_PYTHON] interpreter of the cells; None: the worker's own
    preload: tuple[str, ...] = (
        "numpy",
        "pandas",
        "matplotlib.pyplot",
    )  #: [CODEEXEC_PRELOAD] those installed are imported once
    required_isolation: int = 1  #: [CODEEXEC_REQUIRED_ISOLATION] refuse to consume below this level
    allow_network: bool = False  #: [CODEEXEC_ALLOW_NETWORK] whether ``--network`` may be granted
    #: [CODEEXEC_MAX_SECONDS, _MAX_MEMORY_MB, _MAX_PROCESSES, _MAX_FILE_MB, _MAX_DISK_MB, _MAX_OUTPUT_KB]
    ceiling: Limits = field(default_factory=lambda: DEFAULT_CEILING)
    free_disk_mb: int = 512  #: [CODEEXEC_MIN_FREE_DISK_MB] below this the worker waits
    grace_s: float = 20.0  #: [CODEEXEC_GRACE_S] a warm shutdown lets cells finish for this long, then hands them back
    alert: str | None = None  #: [CODEEXEC_ALERT] command or http(s) URL told of every new dead letter
    events: bool = False  #: [CODEEXEC_EVENTS] send Celery's task events, for Flower and exporters
    log_code: bool = False  #: [CODEEXEC_LOG_CODE] put code and output in the log

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> WorkerSettings:
        """Read the environment (``os.environ`` by default).

        Raises:
            BadSetting: a variable has a value that makes no sense; the message names it.
        """
        env = os.environ if env is None else env
        read = _shared(env)
        for name, variable, convert in _WORKER_VARIABLES:
            if env.get(variable, "") != "":
                read[name] = _convert(variable, env[variable], convert)
        asked = {
            name: _convert(variable, env[variable], _whole)
            for name, variable in _CEILING_VARIABLES
            if env.get(variable, "") != ""
        }
        if "hard_s" in asked:
            asked["soft_s"] = asked["cpu_s"] = asked["hard_s"]
        read["ceiling"] = Limits(**{**DEFAULT_CEILING.as_dict(), **asked})
        return cls(**read)


@dataclass(frozen=True)
class ClusterSettings:
    """What only the embedded cluster reads."""

    home: str | None = None  #: [CODEEXEC_HOME] its folder, used as it is; None: one per user and Python environment
    idle_s: float = 900.0  #: [CODEEXEC_IDLE_S] it stops after this long without clients and without work
    server_memory_mb: int = 256  #: [CODEEXEC_SERVER_MEMORY_MB] beyond it submissions are refused

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> ClusterSettings:
        """Read the environment (``os.environ`` by default).

        Raises:
            BadSetting: a variable has a value that makes no sense; the message names it.
        """
        env = os.environ if env is None else env
        return cls(
            **{
                name: _convert(variable, env[variable], convert)
                for name, variable, convert in _CLUSTER_VARIABLES
                if env.get(variable, "") != ""
            }
        )


def check_url(url: str) -> str:
    """Return ``url`` if it can name a broker.

    Raises:
        BadSetting: unknown scheme, no host, or a bad port; the message shows the accepted forms.
    """
    forms = "use redis://host:6379/0, rediss://host:6379/0 or redis+socket:///path/to.sock"
    shown = hide_password(url)
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as err:
        raise BadSetting(f"broker URL {shown!r} is malformed ({err}): {forms}") from None
    if parts.scheme not in SCHEMES:
        raise BadSetting(f"broker URL {shown!r} has an unknown scheme: {forms}")
    if parts.scheme == "redis+socket" and not parts.path.strip("/"):
        raise BadSetting(f"broker URL {shown!r} names no socket: {forms}")
    if parts.scheme != "redis+socket":
        if not parts.hostname:
            raise BadSetting(f"broker URL {shown!r} names no host: {forms}")
        if parts.path.strip("/") and not parts.path.strip("/").isdigit():
            raise BadSetting(f"broker URL {shown!r}: the database must be a number: {forms}")
    return url


def hide_password(url: str) -> str:
    """The URL as it may be shown: without its password."""
    head, separator, tail = url.partition("://")
    if "@" not in tail:
        return url
    login, _, rest = tail.rpartition("@")
    user = login.partition(":")[0]
    return f"{head}{separator}{user}:***@{rest}" if ":" in login else url


def database(url: str, number: int) -> str:
    """The same server's database ``number``."""
    parts = urlsplit(url)
    if parts.scheme == "redis+socket":
        return f"{parts.scheme}://{parts.path}?virtual_host={number}"
    return parts._replace(path=f"/{number}").geturl()


def _shared(env: Mapping[str, str]) -> dict[str, Any]:
    read: dict[str, Any] = {}
    for name, variable, convert in _VARIABLES:
        if env.get(variable, "") != "":
            read[name] = _convert(variable, env[variable], convert)
    return read


def _convert(variable: str, text: str, convert: Callable[[str], Any]) -> Any:
    try:
        return convert(text)
    except (ValueError, DecodeError) as err:
        raise BadSetting(f"{variable}={hide_password(text)!r}: {err}") from None


def _whole(text: str) -> int:
    if not text.strip().isdigit() or int(text) == 0:
        raise ValueError("must be a whole number above 0")
    return int(text)


def _count(text: str) -> int:
    if not text.strip().isdigit() or int(text) > 100:
        raise ValueError("must be a whole number from 0 to 100")
    return int(text)


def _waits(text: str) -> tuple[float, ...]:
    try:
        waits = tuple(float(part) for part in text.split(","))
    except ValueError:
        waits = ()
    if not waits or not all(0 <= wait <= 86_400 for wait in waits):
        raise ValueError("must be seconds from 0 to 86400, like 5,25,125")
    return waits


def _level(text: str) -> int:
    if text.strip() not in ("0", "1", "2"):
        raise ValueError("must be 0, 1 or 2")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise ValueError("must be a number of seconds above 0")
    return value


def _switch(text: str) -> bool:
    values = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if text.strip().lower() not in values:
        raise ValueError("must be 1 or 0")
    return values[text.strip().lower()]


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


_VARIABLES: Final[tuple[tuple[str, str, Callable[[str], Any]], ...]] = (
    ("broker_url", "CELERY_BROKER_URL", check_url),
    ("result_backend", "CELERY_RESULT_BACKEND", check_url),
    ("namespace", "CODEEXEC_NAMESPACE", str),
    ("code_kb", "CODEEXEC_MAX_CODE_KB", _whole),
    ("cache_ttl_s", "CODEEXEC_CACHE_TTL_S", _seconds),
    ("result_ttl_s", "CODEEXEC_RESULT_TTL_S", _seconds),
    ("retries", "CODEEXEC_RETRIES", _count),
    ("retry_waits_s", "CODEEXEC_RETRY_WAITS_S", _waits),
    ("lease_s", "CODEEXEC_LEASE_S", _seconds),
    ("max_queue", "CODEEXEC_MAX_QUEUE", _whole),
    ("dead_letters", "CODEEXEC_MAX_DEAD_LETTERS", _whole),
    ("max_crashes", "CODEEXEC_MAX_CRASHES", _whole),
)

_WORKER_VARIABLES: Final[tuple[tuple[str, str, Callable[[str], Any]], ...]] = (
    ("slots", "CODEEXEC_SLOTS", _whole),
    ("queues", "CODEEXEC_QUEUES", _names),
    ("python", "CODEEXEC_PYTHON", str),
    ("preload", "CODEEXEC_PRELOAD", _names),
    ("required_isolation", "CODEEXEC_REQUIRED_ISOLATION", _level),
    ("allow_network", "CODEEXEC_ALLOW_NETWORK", _switch),
    ("free_disk_mb", "CODEEXEC_MIN_FREE_DISK_MB", _whole),
    ("grace_s", "CODEEXEC_GRACE_S", _seconds),
    ("alert", "CODEEXEC_ALERT", str),
    ("events", "CODEEXEC_EVENTS", _switch),
    ("log_code", "CODEEXEC_LOG_CODE", _switch),
)

_CLUSTER_VARIABLES: Final[tuple[tuple[str, str, Callable[[str], Any]], ...]] = (
    ("home", "CODEEXEC_HOME", str),
    ("idle_s", "CODEEXEC_IDLE_S", _seconds),
    ("server_memory_mb", "CODEEXEC_SERVER_MEMORY_MB", _whole),
)

_CEILING_VARIABLES: Final = (
    ("hard_s", "CODEEXEC_MAX_SECONDS"),
    ("memory_mb", "CODEEXEC_MAX_MEMORY_MB"),
    ("processes", "CODEEXEC_MAX_PROCESSES"),
    ("file_mb", "CODEEXEC_MAX_FILE_MB"),
    ("disk_mb", "CODEEXEC_MAX_DISK_MB"),
    ("output_kb", "CODEEXEC_MAX_OUTPUT_KB"),
)
