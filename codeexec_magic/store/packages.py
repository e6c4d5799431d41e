"""What workers announce of the Python that their cells run on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from codeexec_magic.store.connection import broker_errors
from codeexec_magic.store.jobs import JobStore
from codeexec_magic.store.keys import ENVIRONMENTS, PACKAGES
from codeexec_magic.store.scripts import dumps, ms

_LONGEST: Final = 4 << 20


@dataclass(frozen=True)
class Packages:
    """The Python of a queue's cells."""

    python: str  #: its version
    packages: Mapping[str, str] = field(default_factory=dict)  #: version by name
    modules: frozenset[str] = frozenset()  #: what can be imported, by top-level name


def announce(store: JobStore, environment: str, about: Mapping[str, Any]) -> None:
    """Say what an environment has.

    Args:
        store: of the job records.
        environment: its fingerprint.
        about: ``python``, ``packages`` and ``modules``.

    Raises:
        ClusterError: the server cannot be reached.
    """
    with broker_errors(store.url):
        store.redis.set(store.key(PACKAGES, environment), dumps(about), px=ms(PACKAGES.expiry_s))


def packages(store: JobStore, queue: str) -> Packages | None:
    """What the cells of a queue have; None while no worker has said so.

    Args:
        store: of the job records.
        queue: its name.

    Raises:
        ClusterError: the server cannot be reached.
    """
    with broker_errors(store.url):
        environment: Any = store.redis.hget(store.key(ENVIRONMENTS), queue)
        text: Any = store.redis.get(store.key(PACKAGES, environment)) if environment else None
    try:
        about = json.loads(text) if text and len(text) < _LONGEST else {}
        named = {str(name): str(version) for name, version in about["packages"].items()}
        return Packages(str(about["python"]), named, frozenset(map(str, about["modules"])))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
