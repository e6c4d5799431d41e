"""The soft time limit inside a cell: a signal that no library uses becomes ``SoftTimeLimitExceeded``.

SIGINT stays what it is in every Python program: ``KeyboardInterrupt``, on which ``asyncio.run`` and ``except
KeyboardInterrupt`` rely, and a cell may ignore it without losing its soft limit.
"""

from __future__ import annotations

import signal
from typing import Any

from ..protocol.signals import SOFT_LIMIT


class SoftTimeLimitExceeded(Exception):
    """The cell's soft time limit has passed."""


# what users catch and what tracebacks show must not name a module of ours
SoftTimeLimitExceeded.__module__ = "builtins"


def arm() -> None:
    """Let the limit raise from now on."""
    signal.signal(SOFT_LIMIT, _raise)


def disarm() -> None:
    """Let the limit pass without effect from now on."""
    signal.signal(SOFT_LIMIT, signal.SIG_IGN)


def _raise(_signal: int, _frame: Any) -> None:
    raise SoftTimeLimitExceeded("the soft time limit has passed")
