"""What keeps a cell in beside the namespaces: rules, filter, limits, no rights; and proof that each is on."""

from __future__ import annotations

import os
import resource
import time
from typing import TYPE_CHECKING, Any, Final

from ..linux import landlock, namespaces, procfs, seccomp, syscalls
from ..protocol.messages import CellCode
from ..protocol.weakening import Weakening

if TYPE_CHECKING:
    from .spawn import Spawn

_PROC_READABLE: Final = ("/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/filesystems")
_ETC_READABLE: Final = (
    *("/etc/ld.so.cache", "/etc/localtime", "/etc/nsswitch.conf", "/etc/mime.types", "/etc/ssl"),
    *("/etc/services", "/etc/protocols"),
)
#: where control groups of both versions say what is granted
_QUOTAS: Final = ("cpu.max", "memory.max", "cpu.cfs_quota_us", "cpu.cfs_period_us", "memory.limit_in_bytes")
#: limits that are the same for every cell
_LIMITS: Final = (
    # 1, not 0: a core file of 1 byte is never written, and to a program that takes core dumps the kernel pipes
    # them whatever the limit, but for this value
    (resource.RLIMIT_CORE, 1, 1),
    (resource.RLIMIT_STACK, 8 << 20, 64 << 20),
    (resource.RLIMIT_MEMLOCK, 64 << 10, 64 << 10),
    (resource.RLIMIT_MSGQUEUE, 0, 0),
    # those that wait, and timers, count for the user, who may be the worker's own
    (resource.RLIMIT_SIGPENDING, 1024, 1024),
    (resource.RLIMIT_RTPRIO, 0, 0),
    (resource.RLIMIT_NICE, 0, 0),
)


def put_on(spawn: Spawn) -> dict[str, Any]:
    """Put every guard on, the filter last because it refuses what the others need.

    Returns:
        what is really on, as the kernel says

    Raises:
        OSError: one could not be put on.
        RuntimeError: one is not what it should be.
    """
    off = spawn.weakening
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)  # without it our own /proc entries are not ours
    procfs.write("/proc/self/oom_score_adj", "1000")
    # made before the user changes: the paths may be out of the new one's reach
    rules = _rules(spawn) if not off.landlock and landlock.abi() else None
    if not spawn.namespaced and spawn.uid:
        _change_user(spawn)
    syscalls.drop_capabilities()
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    for kind, soft, hard in _LIMITS:
        _set(kind, soft, hard)
    if rules:
        _probe_folder(spawn, refused=False)
        rules.restrict()
        os.close(rules.fd)
        _probe_folder(spawn, refused=True)
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)
    if not off.seccomp:
        spawn.listener = _install_filter(spawn)
    return {
        "listener": spawn.listener,
        "landlock_abi": rules.abi if rules else 0,
        "seccomp": not off.seccomp,
        "uid": os.getuid(),
        **_verify(off, namespaced=spawn.namespaced),
    }


def system_call_filter(spawn: Spawn) -> bytes:
    """The filter program of a cell."""
    private = spawn.namespaced
    return seccomp.build(
        syscalls.machine(),
        inet=private or spawn.network,
        # abstract unix sockets belong to the network: only Landlock keeps those of the host out
        unix=private and (not spawn.network or (not spawn.weakening.landlock and landlock.abi() >= 6)),
        ipc=private,
        unseen_memory=spawn.unseen_memory,
        shared_owner=not private and not spawn.uid,
        supervised=spawn.supervised,
    )


def _install_filter(spawn: Spawn) -> int:
    """Put the filter on; returns the descriptor of the calls that wait, which is for the launcher alone, or 0."""
    if spawn.supervised:
        try:
            return syscalls.install_filter(system_call_filter(spawn), listen=True)
        except OSError:
            # the kernel has given a listener to whoever put this machine in a container: the launcher sees that there
            # is none, and orders a sandbox whose tasks are bounded as processes
            spawn.supervised = False
    return syscalls.install_filter(system_call_filter(spawn))


def _change_user(spawn: Spawn) -> None:
    for folder in (spawn.home, os.environ["TMPDIR"]):
        os.chown(folder, spawn.uid, spawn.uid)
    syscalls.drop_bounding_set()
    os.setgroups([])
    os.setresgid(spawn.uid, spawn.uid, spawn.uid)
    os.setresuid(spawn.uid, spawn.uid, spawn.uid)


def _rules(spawn: Spawn) -> landlock.Ruleset:
    rules = landlock.Ruleset(tcp=spawn.namespaced or spawn.network)
    if spawn.namespaced:
        rules.allow_read("/")
        rules.allow_write(*namespaces.WRITABLE)
    else:
        rules.allow_read(*spawn.readable, *_PROC_READABLE, *_ETC_READABLE, *_quotas())
        rules.allow_write(spawn.home)
    rules.allow_write(*(f"/dev/{name}" for name in namespaces.DEVICES))
    return rules


def _quotas() -> list[str]:
    """Files with the limits of the cell's own control groups and of the machine's or container's.

    Libraries that find the files but may not read them fail (duckdb), others start a thread for every processor.
    """
    found = []
    for line in procfs.read("/proc/self/cgroup").splitlines():
        _, controllers, own = line.split(":", 2)
        for group in ("", own):
            found += [f"/sys/fs/cgroup/{controllers}{group}/{name}" for name in _QUOTAS]
    return found


def _probe_folder(spawn: Spawn, *, refused: bool) -> None:
    """Positive and negative control: the same act succeeds before the rules are on and fails after."""
    try:
        if spawn.namespaced:
            os.mkdir(f"{namespaces.AREA}/.probe")  # noqa: PTH102
            os.rmdir(f"{namespaces.AREA}/.probe")  # noqa: PTH106
        else:
            os.scandir("/").close()
    except PermissionError:
        if not refused:
            raise
        return
    if refused:
        raise RuntimeError("Landlock rules are on but do not refuse what they should")


def _verify(off: Weakening, *, namespaced: bool) -> dict[str, Any]:
    """Read back what the kernel says is on, rather than believe the calls that set it."""
    status = dict(line.split(":\t", 1) for line in procfs.read("/proc/self/status").splitlines() if ":\t" in line)
    wrong = []
    if int(status["CapEff"], 16) or int(status["CapPrm"], 16):
        wrong.append("capabilities are left")
    if namespaced and int(status["CapBnd"], 16):
        wrong.append("capabilities can be gained")  # elsewhere an ordinary user may not say so, and needs not
    if status["NoNewPrivs"] != "1":
        wrong.append("no_new_privs is off")
    if status["Seccomp"] != "2" and not off.seccomp:
        wrong.append("the system call filter is off")
    if not off.seccomp:
        try:
            syscalls.unshare(syscalls.CLONE_NEWUSER)
            wrong.append("the system call filter lets unshare through")
        except PermissionError:
            pass
    if wrong:
        raise RuntimeError("; ".join(wrong))
    return {"no_new_privs": True, "capabilities": 0}


def data() -> int:
    """Bytes of memory of its own that this process has asked for."""
    return int(procfs.read("/proc/self/statm").split()[5]) * resource.getpagesize()


def limit(spawn: Spawn, request: CellCode, asked: int) -> None:
    """Set the kernel's own limits, as far as they are the run's; none can be raised again.

    Args:
        spawn: what the launcher asked for.
        request: of the run.
        asked: from :func:`data`, before the cell asks for any.
    """
    limits = request.limits
    cpu = int(time.process_time() + limits.cpu_s) + 2
    # a little below the tree's limit, so that one greedy process gets a MemoryError rather than a kill
    room = asked + (limits.memory_mb << 20) * 15 // 16
    megabyte = 1 << 20
    for kind, soft, hard in (
        (resource.RLIMIT_CPU, cpu, cpu + 1),
        (resource.RLIMIT_DATA, room, room) if not spawn.weakening.memory else (resource.RLIMIT_DATA, -1, -1),
        (resource.RLIMIT_FSIZE, limits.file_mb * megabyte, limits.file_mb * megabyte),
        (resource.RLIMIT_NOFILE, limits.descriptors, limits.descriptors),
        (resource.RLIMIT_NPROC, request.tasks_of_user, request.tasks_of_user),
    ):
        _set(kind, soft, hard)


def _set(kind: int, soft: int, hard: int) -> None:
    try:
        resource.setrlimit(kind, (soft, hard))
    except ValueError:  # more than the worker itself may have
        _, most = resource.getrlimit(kind)
        resource.setrlimit(kind, (min(soft, most), min(hard, most)))
