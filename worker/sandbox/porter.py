"""Moves processes into their control groups, in a thread of its own: the launcher's only one beside the main one.

The kernel lets whoever moves a process wait until all processors are through with older forks and exits: 10 ms as a
rule, twice that at worst, in which the launcher would serve nobody. What is moved goes on meanwhile; it is used only
when it has arrived.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable

from .cgroup import Group
from .loop import Loop


class Porter:
    """One thread that moves, and tells the loop when it has."""

    def __init__(self, loop: Loop) -> None:
        """Begin.

        Args:
            loop: calls back in its own thread.
        """
        self._orders: queue.SimpleQueue[tuple[Group, int, Callable[[str], None]]] = queue.SimpleQueue()
        self._moved: queue.SimpleQueue[tuple[Callable[[str], None], str]] = queue.SimpleQueue()
        self._bell, self._ring = os.pipe2(os.O_CLOEXEC)
        loop.watch(self._bell, self._tell)
        threading.Thread(target=self._work, name="porter", daemon=True).start()

    def move(self, pid: int, group: Group, done: Callable[[str], None]) -> None:
        """Move a process, later.

        Args:
            pid: of the process.
            group: where it belongs.
            done: called with what went wrong, or nothing.
        """
        self._orders.put((group, pid, done))

    def _work(self) -> None:
        while True:
            group, pid, done = self._orders.get()
            problem = ""
            try:
                group.add(pid)
            except OSError as err:
                problem = f"control group: {err}"
            self._moved.put((done, problem))
            os.write(self._ring, b"!")

    def _tell(self) -> None:
        os.read(self._bell, 512)
        while not self._moved.empty():
            done, problem = self._moved.get()
            done(problem)
