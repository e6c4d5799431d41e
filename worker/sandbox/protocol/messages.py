"""Every message between worker, launcher, zygote, namespace server, cell parent and cell, and its one wire form.

    worker -> launcher              RunCell, CancelRun           on the socket of a run
    launcher -> worker              LauncherReady or Broken      once, on the control socket
                                    OutputEvent, Evidence        on the socket of a run
    zygote -> launcher              AskUserMap, EnteredNamespaces, ServesNamespaces while it starts,
                                    then ZygoteReady, NoNamespaces or Broken
    launcher -> zygote              UserMapWritten while it starts, then ForkCell
    zygote -> launcher              Forked, Refused, CellEnded
    launcher -> namespace server    BuildNamespaces
    namespace server -> launcher    NamespacesBuilt, Refused
    launcher -> cell parent         Proceed, Kill
    cell parent -> launcher         CellForked, CellEnded, Broken
    launcher -> cell                CellCode
    cell -> launcher                CellReady or Broken, then EndReport: from then on every byte may be forged

A message is a JSON array: the name of its type, then its fields in their order. :func:`decode` checks the number of the
fields and the type of each, so a receiver never meets a message that is half right.

The types are named tuples and not dataclasses because process 1 of the namespaces, which is forked for every run, knows
them: importing ``dataclasses`` takes 17 ms, 1.2 MB of memory, and 0.1 ms of every fork from then on.
"""

# annotations stay objects (no ``from __future__ import annotations``): the checks of the fields are made from them

import json
from collections.abc import Callable
from types import UnionType
from typing import Any, Final, NamedTuple, get_args, get_origin, get_type_hints

from .weakening import Weakening

Json = dict[str, Any]


class BadMessage(ValueError):
    """Bytes that are no message."""


class CellLimits(NamedTuple):
    """What the process tree of a cell may use: the fields of ``codeexec_magic.limits.Limits``, in their order."""

    soft_s: float
    hard_s: float
    cpu_s: float
    memory_mb: int
    processes: int
    tasks: int
    file_mb: int
    disk_mb: int
    inodes: int
    output_kb: int
    descriptors: int
    shm_mb: int


# -- how launcher and zygote are configured, on their command lines ------------------------------------------------


class LauncherConfig(NamedTuple):
    """What a launcher is started with."""

    python: str  #: interpreter of the cells
    slots: int  #: cells at a time
    preload: tuple[str, ...]  #: modules that the zygote imports
    network: bool  #: whether a cell may ask for the host's network
    limits: CellLimits  #: those that standbys are made for
    level: int  #: highest isolation level to try
    cgroup: bool  #: whether to use control groups where there are any
    fast_fork: bool  #: whether to use the fork tuning of ``fastfork/``
    weakening: Weakening


class ZygoteConfig(NamedTuple):
    """What a zygote is started with."""

    preload: tuple[str, ...]
    network: bool
    level: int
    launcher_id: str  #: part of the names of its folders
    fast_fork: bool
    weakening: Weakening


# -- worker and launcher -------------------------------------------------------------------------------------------


class RunCell(NamedTuple):
    """The worker wants a cell to be run."""

    code: str
    limits: CellLimits
    network: bool
    outputs: tuple[str, ...]  #: names of the values that are to come back
    downloads: tuple[str, ...]  #: patterns of the files that are to come back
    descriptors: tuple[str, ...]  #: "inputs" and "returns", as far as they came with the socket, in this order


class CancelRun(NamedTuple):
    """The worker wants the run of this socket to be killed."""

    reason: str


class LauncherReady(NamedTuple):
    """The first standby has its guards on."""

    report: Json  #: the isolation there is
    environment: str  #: fingerprint of the cells' interpreter and libraries


class Broken(NamedTuple):
    """The sender cannot go on."""

    text: str


class OutputEvent(NamedTuple):
    """One checked event of a cell's output."""

    event: Json


class EndReport(NamedTuple):
    """What the runner in the cell says of the cell's end. The cell may have forged it."""

    token: str  #: of the run; kept from the cell as well as a process can keep anything from its own code
    status: str  #: ``ok``, ``error`` or ``exit``
    code: int = 0  #: exit status that the cell asked for
    error: Json | None = None  #: as ``exception_report.describe`` makes it
    left: list[Any] | None = None  #: files that nobody asked for: pairs of name and size


#: bytes of an end report: the runner keeps 150 thousand characters at most, each of which JSON makes twelve at most
LARGEST_END: Final = 2 << 20

_NOTHING: Final[Json] = {}


class Evidence(NamedTuple):
    """What the launcher saw of a run: the verdict follows from this alone."""

    kill: str | None = None  #: reason for which the launcher killed the run
    detail: Json = _NOTHING  #: figures that belong to the reason
    soft: bool = False  #: the soft time limit was signalled
    problem: str = ""  #: what broke in the sandbox itself
    status: int | None = None  #: wait status of the cell's process
    init_died: bool = False  #: process 1 of the run was killed, which nobody but the kernel can do
    oom_kills: int = 0  #: processes killed by the kernel at the memory limit
    processes_refused: int | None = None  #: at the limit of processes; None where nothing counts them
    tasks_refused: int | None = None  #: at the limit of tasks; None where nothing counts them
    cut: bool = False  #: the process went on after the cell's end and was killed
    full: str = ""  #: the limit of disk space that was used up
    peak: int = 0  #: bytes of memory
    cpu_s: float = 0.0  #: processor seconds
    elapsed_s: float = 0.0  #: from the moment the cell had its code
    start_s: float | None = None  #: from the worker's request until the cell had its code
    isolation: Json = _NOTHING
    truncated: Json = _NOTHING  #: bytes dropped, by stream
    end: EndReport | None = None


# -- launcher, zygote and namespace server -------------------------------------------------------------------------


class AskUserMap(NamedTuple):
    """The zygote is in its user namespace; the launcher, as root, must write its user map."""


class UserMapWritten(NamedTuple):
    """The launcher has answered :class:`AskUserMap`."""

    written: bool


class EnteredNamespaces(NamedTuple):
    """The zygote has forked into its process namespace; comes with a descriptor of that process."""


class ServesNamespaces(NamedTuple):
    """The namespace server listens; comes with the launcher's end of its socket."""


class NoNamespaces(NamedTuple):
    """The zygote could not build its root; another one has to be started without namespaces."""

    text: str


class ZygoteReady(NamedTuple):
    """The zygote has loaded everything and takes orders."""

    level: int  #: of isolation
    missing: tuple[str, ...]  #: what is not there, and why
    preloaded: tuple[str, ...]
    environment: str  #: fingerprint of interpreter and libraries
    python: str  #: version
    own_uid: bool  #: whether each cell can have a user of its own
    fast_fork: str  #: "on", "off", or which parts of the fork tuning are not in use


class BuildNamespaces(NamedTuple):
    """The launcher wants namespaces and scratch mounts for a run."""

    number: int  #: of the process tree
    uid: int  #: of the cell, in the zygote's user namespace
    disk_mb: int
    inodes: int
    shm_mb: int


class NamespacesBuilt(NamedTuple):
    """Comes with descriptors of the run's process 1, its namespaces and its scratch mounts."""

    number: int


class ForkCell(NamedTuple):
    """The launcher wants a cell, or the parent of one; comes with the descriptors that it is to have."""

    number: int
    uid: int
    network: bool
    home: str  #: the cell's folder, where it has no mounts of its own
    unseen_memory: bool  #: whether it may hold memory that only a control group counts
    supervised: bool  #: whether the launcher answers for new processes and locks


class Forked(NamedTuple):
    """The cell, or the parent of one, exists; comes with a descriptor of the process."""

    number: int


class Refused(NamedTuple):
    """What was asked for cannot be had."""

    number: int
    text: str


class CellEnded(NamedTuple):
    """The cell's process was waited for."""

    number: int
    status: int | None  #: wait status; None if somebody else had waited for it
    peak: int  #: bytes of memory that it had at most


# -- launcher, cell parent and cell --------------------------------------------------------------------------------


class Proceed(NamedTuple):
    """The parent may fork the cell: the launcher accounts for it now."""


class Kill(NamedTuple):
    """The parent must end everything below it, and itself."""


class CellForked(NamedTuple):
    """The parent has forked the cell."""


class CellCode(NamedTuple):
    """What a standby is to run."""

    code: str
    outputs: tuple[str, ...]
    downloads: tuple[str, ...]
    descriptors: tuple[str, ...]  #: names of those that come with the message, in their order
    limits: CellLimits
    tasks_of_user: int  #: limit of processes and threads of the cell's user
    token: str  #: goes into the :class:`EndReport`


class CellReady(NamedTuple):
    """The standby has its guards on and waits for code."""

    guards: Json  #: what the kernel says is on


# -- the wire form -------------------------------------------------------------------------------------------------

Message = (
    LauncherConfig
    | ZygoteConfig
    | RunCell
    | CancelRun
    | LauncherReady
    | Broken
    | OutputEvent
    | EndReport
    | Evidence
    | AskUserMap
    | UserMapWritten
    | EnteredNamespaces
    | ServesNamespaces
    | NoNamespaces
    | ZygoteReady
    | BuildNamespaces
    | NamespacesBuilt
    | ForkCell
    | Forked
    | Refused
    | CellEnded
    | Proceed
    | Kill
    | CellForked
    | CellCode
    | CellReady
)


def encode(message: Message) -> bytes:
    """The wire form of a message."""
    text = json.dumps((type(message).__name__, *message), separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "surrogatepass")  # a cell may print, and a folder be named with, half a character


def decode(data: bytes | bytearray) -> Message:
    """The message that these bytes are.

    Raises:
        BadMessage: they are none.
    """
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as err:
        raise BadMessage(f"no JSON: {err}") from None
    return from_json(value)


def from_json(value: Any) -> Message:
    """The message that a decoded JSON value is.

    Raises:
        BadMessage: it is none.
    """
    if not isinstance(value, list) or not value or not isinstance(value[0], str) or value[0] not in _KINDS:
        raise BadMessage("no message of a known type")
    message: Message = _KINDS[value[0]](value[1:])
    return message


_Reader = Callable[[Any], Any]


def _reader(hint: Any) -> _Reader:
    """What takes a JSON value and returns the field's value, or raises :class:`BadMessage`."""
    if isinstance(hint, UnionType):
        (inner,) = (_reader(part) for part in get_args(hint) if part is not type(None))
        return lambda value: None if value is None else inner(value)
    if isinstance(hint, type) and hasattr(hint, "_fields"):
        return _record_reader(hint)
    if get_origin(hint) is tuple:
        return _texts
    kind = get_origin(hint) or hint
    kinds = (int, float) if kind is float else kind

    def read(value: Any) -> Any:
        # JSON's true is an int for Python
        if not isinstance(value, kinds) or (kind is not bool and isinstance(value, bool)):
            raise BadMessage(f"{kind.__name__} expected, not {type(value).__name__}")
        return value

    return read


def _record_reader(record: Any) -> _Reader:
    hints = get_type_hints(record)
    readers = [_reader(hints[name]) for name in record._fields]

    def read(values: Any) -> Any:
        if not isinstance(values, list) or len(values) != len(readers):
            raise BadMessage(f"{record.__name__} has {len(readers)} fields")
        return record._make([reader(value) for reader, value in zip(readers, values, strict=True)])

    return read


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise BadMessage("list of texts expected")
    return tuple(value)


_KINDS: Final[dict[str, _Reader]] = {kind.__name__: _record_reader(kind) for kind in get_args(Message)}
