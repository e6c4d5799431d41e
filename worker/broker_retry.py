"""Try again while the broker is away."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from codeexec_magic.errors import ClusterError

log = logging.getLogger("codeexec")
T = TypeVar("T")


def patiently(call: Callable[[], T], seconds: float) -> T:
    """Return what ``call`` returns, repeating it while the broker cannot be reached.

    Safe only for calls that may run twice: the store's scripts are, a reply that got lost included.

    Args:
        call: the store operation.
        seconds: how long to go on.

    Raises:
        ClusterError: still unreachable after that time.
    """
    deadline, pause, told = time.monotonic() + seconds, 0.05, False
    while True:
        try:
            return call()
        except ClusterError as err:
            if time.monotonic() + pause > deadline:
                raise
            if not told:
                log.warning("waiting for the broker: %s", err)
                told = True
            time.sleep(pause)
            pause = min(pause * 2, 1.0)
