"""One thread's waiting: which descriptors are watched, what is called when one has something, and until when."""

from __future__ import annotations

import contextlib
import select
import selectors
import socket
import time
from collections.abc import Callable

Handler = Callable[[], object]
Watched = int | socket.socket


class Loop:
    """Calls the handlers of readable descriptors."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def watch(self, file: Watched, handler: Handler) -> None:
        """Call ``handler`` whenever there is something to read.

        Raises:
            KeyError: it is watched already.
        """
        self._selector.register(file, selectors.EVENT_READ, handler)

    def change(self, file: Watched, handler: Handler, *, writable: bool) -> None:
        """Call another handler, and also when there is room to write, if asked for.

        Raises:
            KeyError: it is not watched.
        """
        self._selector.modify(file, selectors.EVENT_READ | (selectors.EVENT_WRITE if writable else 0), handler)

    def forget(self, *files: Watched) -> None:
        """Watch these no longer; those that are not watched, or closed, are passed over."""
        for file in files:
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(file)

    def turn(self, deadline: float) -> None:
        """Wait until something happens, at most until ``deadline`` (monotonic), and call whom it concerns."""
        patience = None if deadline == float("inf") else max(0.0, deadline - time.monotonic())
        for key, _ in self._selector.select(patience):
            # an earlier handler of this round may have closed it, and its number may be another's by now
            if self._selector.get_map().get(key.fd) is key:
                key.data()


def readable(fd: int) -> bool:
    """Whether there is something to read, or an end, right now."""
    return bool(_poll(fd))


def has_data(fd: int) -> bool:
    """Whether there is something to read right now."""
    return bool(_poll(fd) & select.POLLIN)


def hung_up(fd: int) -> bool:
    """Whether nothing is left to read and nobody is left to write."""
    return _poll(fd) == select.POLLHUP


def _poll(fd: int) -> int:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    found = poll.poll(0)
    return found[0][1] if found else 0
