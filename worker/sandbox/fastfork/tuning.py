"""What makes forks of the zygote cheap: prepared in the zygote, adopted by cells, accounted for in the worker.

Everything here is a matter of speed. ``CODEEXEC_FAST_FORK=0`` leaves all of it out, and the kernel may refuse a part:
cells then run as before, only slower. ``docs/performance/fast-fork.md`` says of each part how much it saves, what it
relies on, how it fails and how to delete it. Nothing outside this folder names its other modules, which are imported
only when they are used.
"""

from __future__ import annotations

import contextlib
import gc
import os
import resource
from collections.abc import Callable

#: lives like a cell in a fork of the zygote. It is given a descriptor that must stay open, and returns the number under
#: which that descriptor is found in the end
Rehearsal = Callable[[int], int]


class Tuning:
    """No tuning at all."""

    #: ``on``, ``off``, or which parts are not in use
    state = "off"

    def prepare(self, rehearse: Rehearsal) -> None:
        """Put the zygote's memory in order, when everything is loaded.

        Args:
            rehearse: shows which memory a cell writes to.
        """
        del rehearse
        gc.collect()
        gc.freeze()

    def adopt(self) -> None:
        """Take what every cell needs: the first thing that a forked process does."""

    def hold_memory(self) -> None:
        """Let another process hold the cell's memory, so that nobody waits for the end of that memory."""


class FastFork(Tuning):
    """The heap in a file, the pages of every cell pinned, and a holder of each cell's memory."""

    def prepare(self, rehearse: Rehearsal) -> None:
        """Move the heap to a file, learn which pages every cell writes to, and pin those."""
        from . import memfd_heap, memory_holder, prefault

        self._hold_memory = memory_holder.start  # imported now: a cell cannot reach our files any more
        gc.collect()
        objects = memfd_heap.objects()
        gc.freeze()
        missing = [] if memfd_heap.move(objects) else ["the heap is not in a file"]
        self._pages = prefault.Pages()
        self._pages = prefault.Pages(prefault.learn(rehearse))
        if not self._pages.pin():
            missing.append("no pages are pinned")
        self.state = "; ".join(missing) or "on"

    def adopt(self) -> None:
        """Copy the pages that every cell writes to, as far as the fork did not."""
        self._pages.copy()

    def hold_memory(self) -> None:
        """Start a process that shares the cell's memory."""
        self._hold_memory()


def tuning(*, enabled: bool) -> Tuning:
    """The tuning that the zygote prepares.

    Args:
        enabled: from ``CODEEXEC_FAST_FORK``.
    """
    return FastFork() if enabled else Tuning()


def allow_pins() -> None:
    """Let the zygote pin memory as far as its user may; a cell is allowed next to none."""
    _, most = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    most = resource.RLIM_INFINITY if os.geteuid() == 0 else most
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (most, most))


def heap_file_bytes(pid: int) -> int:
    """Bytes of the heap file that a process has mapped, which the kernel counts for nobody.

    Raises:
        OSError: the process is gone, or not ours to read.
    """
    from . import memfd_heap

    return sum(mapping.end - mapping.start for mapping in memfd_heap.mapped(pid))
