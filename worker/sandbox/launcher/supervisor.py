"""Answers the system calls of a cell that only somebody outside can judge: new processes, and ``flock``.

The kernel can count tasks, but not processes apart from their threads; and the filter cannot see which file a
descriptor means. So the filter has these calls wait here. A new process is let go on while the run has fewer than its
limit; the limit of tasks, which the kernel keeps, stands behind that. A lock is taken on a duplicate of the
descriptor, so that no thread of the cell can put another file in its place between question and answer.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from typing import Final

from ..linux import file_locks, syscall_table, syscalls, user_notification
from ..linux.user_notification import Notice
from .process_count import ProcessCount, Walk
from .process_tree import ProcessTree

#: how long a refusal takes, and how often a lock that is waited for is tried: a bomb of forks must not become the
#: launcher's load (seconds)
_PATIENCE_S: Final = 0.02
_CLONE_VM: Final = 0x100
_FLOCK: Final = {row[0]: row for row in syscall_table.LOCKS}["flock"]
_CLONE: Final = {row[0]: row for row in syscall_table.RULED}["clone"]


class Supervisor:
    """The answers to one run's calls."""

    def __init__(self, tree: ProcessTree, processes: int) -> None:
        """Begin.

        Args:
            tree: whose calls wait; it has a listener.
            processes: the most it may have at a time.
        """
        self._tree = tree
        #: the process that holds the cell's memory is still to come
        self._holder = tree.level >= 2 and tree.group is not None and tree.host.fast_fork
        # a control group lists one more process: that holder, or at level 1 the cell's parent
        more = 1 if tree.group is not None and (self._holder or tree.level < 2) else 0
        self._processes = ProcessCount(tree.group.processes if tree.group else Walk(tree.pids), processes + more)
        self._waiting: list[tuple[Notice, bool]] = []  #: calls without an answer yet, and whether they are locks
        self._due = float("inf")
        self.refused = 0
        column = 1 + syscall_table.MACHINES.index(syscalls.machine())
        self._flock, self._clone = _FLOCK[column], _CLONE[column]

    def deadline(self) -> float:
        """When :meth:`tick` has something to do."""
        return self._due

    def answer(self) -> None:
        """Take one call that waits, and answer it now or later."""
        notice = user_notification.receive(self._tree.listener)
        if notice is None:
            return
        if notice.number == self._flock:
            if not self._lock(notice):
                self._later(notice, lock=True)
        elif self._has_room(notice):
            user_notification.go_on(self._tree.listener, notice)
        else:
            self.refused += 1
            self._later(notice, lock=False)

    def tick(self, now: float) -> None:
        """Answer what had to wait."""
        if now < self._due:
            return
        waiting, self._waiting, self._due = self._waiting, [], float("inf")
        for notice, lock in waiting:
            if not lock:
                user_notification.answer(self._tree.listener, notice, errno.EAGAIN)
            elif user_notification.waits(self._tree.listener, notice) and not self._lock(notice):
                self._later(notice, lock=True)

    def _later(self, notice: Notice, *, lock: bool) -> None:
        self._waiting.append((notice, lock))
        self._due = min(self._due, time.monotonic() + _PATIENCE_S)

    def _has_room(self, notice: Notice) -> bool:
        if self._holder:
            self._holder = False
            if notice.number == self._clone and notice.args[0] == _CLONE_VM:
                return True  # made before the cell's first line; it has its place beside the limit
        return self._processes.admit(notice)

    def _lock(self, notice: Notice) -> bool:
        """Take or give up a lock for the cell; false when it has to wait for another's."""
        number, operation = notice.args[0] & 0xFFFFFFFF, notice.args[1] & 0xFFFFFFFF
        listener = self._tree.listener
        try:
            fd = user_notification.descriptor_of(notice.thread, number)
        except OSError as err:
            error = errno.EBADF if err.errno == errno.EBADF else errno.ENOLCK
            user_notification.answer(listener, notice, error)
            return True
        try:
            if not user_notification.waits(listener, notice):
                return True
            if not self._is_own(fd):
                user_notification.answer(listener, notice, errno.ENOLCK)
                return True
            fcntl.flock(fd, operation | fcntl.LOCK_NB)
            user_notification.answer(listener, notice)
        except OSError as err:
            if err.errno == errno.EWOULDBLOCK and not operation & fcntl.LOCK_NB:
                return False
            user_notification.answer(listener, notice, err.errno or errno.EINVAL)
        finally:
            os.close(fd)
        return True

    def _is_own(self, fd: int) -> bool:
        if self._tree.home:
            return file_locks.below(os.readlink(f"/proc/self/fd/{fd}"), self._tree.home)  # noqa: PTH115
        return os.fstat(fd).st_dev in file_locks.devices(self._tree.scratch)
