"""Control groups, version 1 and 2: one group per run bounds memory and tasks of the whole tree."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from pathlib import Path
from typing import Final

from . import procfs
from .launcher_id import dead, mark

_PREFIX: Final = "codeexec"
_SUPERVISOR: Final = f"{_PREFIX}-supervisor"
#: bytes in the buffers of a run's sockets, beside its memory, where the kernel counts them apart
_SOCKETS: Final = str(64 << 20)
#: rounds in which a group is emptied
_MOVES: Final = 16
#: how long a group may stay busy after its last process died (seconds)
_BUSY_S: Final = 1.0


class Group:
    """The group of one run."""

    def __init__(self, memory: Path, pids: Path | None, version: int) -> None:
        self.version = version
        # text, because every cell needs a dozen of the files and a path costs as much to put together as to open
        self._memory, self._pids = str(memory), str(pids or "")
        self._folders = list(dict.fromkeys(folder for folder in (self._memory, self._pids) if folder))
        for folder in self._folders:
            os.mkdir(folder)  # noqa: PTH102

    def limit(self, memory_mb: int, tasks: int) -> None:
        """Set the limits; more memory is refused by killing."""
        size = str(memory_mb << 20)
        if self.version == 2:
            procfs.write(f"{self._memory}/memory.max", size)
            _write_if(f"{self._memory}/memory.swap.max", "0")
            _write_if(f"{self._memory}/memory.oom.group", "1")
        else:
            # swap is counted together with memory and must never be the smaller limit
            _write_if(f"{self._memory}/memory.memsw.limit_in_bytes", "-1")
            procfs.write(f"{self._memory}/memory.limit_in_bytes", size)
            _write_if(f"{self._memory}/memory.memsw.limit_in_bytes", size)
            # what waits in sockets is counted apart, and not at all until it has a limit
            _write_if(f"{self._memory}/memory.kmem.tcp.limit_in_bytes", _SOCKETS)
        if self._pids:
            procfs.write(f"{self._pids}/pids.max", str(tasks))

    def procs_descriptors(self) -> list[int]:
        """Descriptors by which a process with one thread goes in: it writes ``0`` to each.

        Whoever moves another process waits until all processors are through with older forks and exits, 10 ms as a
        rule, and holds up new ones meanwhile. In version 1 a thread that moves nobody but itself is spared that.
        """
        name = "cgroup.procs" if self.version == 2 else "tasks"
        return [os.open(f"{folder}/{name}", os.O_WRONLY | os.O_CLOEXEC) for folder in self._folders]

    def holds(self, pid: int) -> bool:
        """Whether a process is inside, by the kernel's own account."""
        names = [line.rpartition("/")[2] for line in _read(f"/proc/{pid}/cgroup").splitlines()]
        return names.count(self._memory.rpartition("/")[2]) == len(self._folders)

    def oom_kills(self) -> int:
        """How often the kernel killed for want of memory."""
        name = "memory.events" if self.version == 2 else "memory.oom_control"
        for line in _read(f"{self._memory}/{name}").splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
        return 0

    def forks_refused(self) -> int | None:
        """How often a process or thread was refused because there were too many; nothing when nobody counts."""
        text = _read(f"{self._pids}/pids.events") if self._pids else ""
        return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("max ")), None)

    def peak(self) -> int:
        """Most memory used at a time, in bytes; 0 when the kernel does not say."""
        name = "memory.peak" if self.version == 2 else "memory.max_usage_in_bytes"
        text = _read(f"{self._memory}/{name}") or _read(f"{self._memory}/memory.current")
        return int(text) if text.strip().isdigit() else 0

    def cpu(self) -> float:
        """Processor seconds of everybody who was ever in it; 0 where this version does not count them here."""
        text = _read(f"{self._memory}/cpu.stat") if self.version == 2 else ""
        return int(text.split()[1]) / 1e6 if text.startswith("usage_usec ") else 0.0

    def reset_peak(self) -> None:
        """Forget what the standby used before the code came, as far as the kernel can."""
        if self.version == 1:
            _write_if(f"{self._memory}/memory.max_usage_in_bytes", "0")

    def processes(self) -> list[int]:
        """Who is inside."""
        return [int(pid) for pid in _read(f"{self._memory}/cgroup.procs").split()]

    def remove(self) -> bool:
        """Remove the group; the kernel may need a moment after the last process."""
        end = time.monotonic() + _BUSY_S
        for folder in self._folders:
            while True:
                try:
                    os.rmdir(folder)  # noqa: PTH106
                    break
                except FileNotFoundError:
                    break
                except OSError as err:
                    if err.errno != errno.EBUSY or time.monotonic() > end:
                        return False
                    time.sleep(0.002)
        return True


class Cgroups:
    """Makes groups below the one this process is in."""

    def __init__(self, memory: Path, pids: Path | None, version: int) -> None:
        self.version, self._memory, self._pids = version, memory, pids
        self._mark = mark()
        self._sweep()

    def group(self, name: str) -> Group:
        """A new group."""
        full = f"{_PREFIX}-{self._mark}-{name}"
        return Group(self._memory / full, self._pids / full if self._pids else None, self.version)

    def _sweep(self) -> None:
        # what was left when launcher and worker were killed together: empty groups cost kernel memory for ever
        for base in {self._memory, self._pids} - {None}:
            assert base is not None
            for folder in base.glob(f"{_PREFIX}-*-*"):
                if dead(folder.name.split("-")[1]):
                    with contextlib.suppress(OSError):  # never one with processes in it
                        folder.rmdir()


def folders(launcher: str, proc: Path = Path("/proc/self")) -> list[Path]:
    """The groups that the launcher of this mark, in the same group as this process, has made."""
    mounts, own = _mounts((proc / "mountinfo").read_text()), dict(_own((proc / "cgroup").read_text()))
    bases = [Path(mounts[name] + own[name]) for name in ("memory", "pids") if name in mounts and name in own]
    if "" in mounts and "" in own:
        bases.append(_delegated(mounts[""] + own[""]))
    return [folder for base in dict.fromkeys(bases) for folder in base.glob(f"{_PREFIX}-{launcher}-*")]


def find(proc: Path = Path("/proc/self")) -> tuple[Cgroups | None, str]:
    """What this process may use, or why it may use nothing."""
    mounts = _mounts((proc / "mountinfo").read_text())
    own = dict(_own((proc / "cgroup").read_text()))
    reasons = []
    if "memory" in mounts and "memory" in own:
        memory, pids = mounts["memory"] + own["memory"], None
        if "pids" in mounts and "pids" in own:
            pids = mounts["pids"] + own["pids"]
        if _usable(Path(memory)):
            return Cgroups(Path(memory), Path(pids) if pids and _usable(Path(pids)) else None, 1), ""
        reasons.append(f"cgroup v1: {memory} is not writable")
    if "" in mounts and "" in own:
        base = _delegated(mounts[""] + own[""])
        try:
            return _second_version(base), ""
        except OSError as err:
            reasons.append(f"cgroup v2: {err}")
    return None, "; ".join(reasons) or "no cgroup file system is mounted"


def _delegated(path: str) -> Path:
    """The group that is ours to divide, also when an earlier launcher has moved everybody to a leaf of it."""
    base = Path(path)
    return base.parent if base.name == _SUPERVISOR else base


def _second_version(base: Path) -> Cgroups:
    """Make ``base`` ready to have groups with controllers below it.

    A group whose children have controllers may hold no process itself, so whoever is in it moves to a leaf.
    """
    available = (base / "cgroup.controllers").read_text().split()
    if "memory" not in available:
        raise OSError(errno.ENODEV, f"the memory controller is not delegated to {base}")
    wanted = [name for name in ("memory", "pids") if name in available]
    enabled = (base / "cgroup.subtree_control").read_text().split()
    if not set(wanted) <= set(enabled):
        # the machine's own root group is free of that rule, and has threads of the kernel in it that stay
        if (base / "cgroup.type").exists():
            _move_all(base, base / _SUPERVISOR)
        procfs.write(base / "cgroup.subtree_control", " ".join(f"+{name}" for name in wanted))
    return Cgroups(base, base if "pids" in wanted else None, 2)


def _move_all(base: Path, leaf: Path) -> None:
    leaf.mkdir(exist_ok=True)
    for _ in range(_MOVES):  # those that are being moved may fork meanwhile
        if not (pids := _read(base / "cgroup.procs").split()):
            return
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):  # or end
                procfs.write(leaf / "cgroup.procs", pid)


def _mounts(text: str) -> dict[str, str]:
    """Mount points by controller; the second version's has the empty name."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = right.split(" ", 2)
        point = left.split()[4]
        if kind == "cgroup2":
            found[""] = point
        elif kind == "cgroup":
            for option in options.split(","):
                found.setdefault(option, point)
    return found


def _own(text: str) -> list[tuple[str, str]]:
    pairs = []
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        pairs += [(name, "" if path == "/" else path) for name in controllers.split(",")]
    return pairs


def _usable(folder: Path) -> bool:
    return folder.is_dir() and os.access(folder, os.W_OK)


def _write_if(path: str, text: str) -> None:
    """Where the kernel has such a file."""
    with contextlib.suppress(OSError):
        procfs.write(path, text)


def _read(path: str | Path) -> str:
    try:
        return procfs.read(path)
    except OSError:
        return ""
