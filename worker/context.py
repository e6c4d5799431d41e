"""What an attempt needs of the worker that runs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from codeexec_magic.limits import Limits
from codeexec_magic.store import JobStore
from codeexec_magic.store.room import Room
from codeexec_magic.values.store import ValueStore
from worker.announcer import Announcer
from worker.execution_log import ExecutionLog
from worker.leases import Leases
from worker.memory_usage import MemoryUsage
from worker.publisher import Flusher
from worker.sandbox import Sandbox


@dataclass(frozen=True)
class WorkerContext:
    """The parts of an open worker that its attempts share."""

    name: str  #: of the worker, as monitors show it
    attempt_prefix: str  #: ids of its attempts begin so; the supervisor tells by it whose attempts they are
    ceiling: Limits  #: a cell is granted no more than this
    store: JobStore
    room: Room
    values: ValueStore
    sandbox: Sandbox
    leases: Leases
    flusher: Flusher
    announcer: Announcer
    log: ExecutionLog
    memory_usage: MemoryUsage
    wait_for_room: Callable[[], None]  #: returns when this machine has the free space a cell may need
