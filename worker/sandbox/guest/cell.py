"""The process that becomes the cell: puts its guards on, parks, and runs the code it is given, once."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import resource
import select
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from . import anchor, isolation, kernfile, landlock, linux, packets, runner, seccomp
from .streams import Stream

if TYPE_CHECKING:
    from .init import Spawn

#: the event channel's descriptor, the only one beside the standard three
EVENTS_FD: Final = 3
#: a standby without work for so long has time for more (milliseconds)
_IDLE_MS: Final = 25
_PROC_READABLE: Final = ("/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/filesystems")
_ETC_READABLE: Final = ("/etc/ld.so.cache", "/etc/localtime", "/etc/nsswitch.conf", "/etc/mime.types", "/etc/ssl")


def main(spawn: Spawn) -> NoReturn:
    """Become the cell."""
    home_pid = os.getpid()
    try:
        code_fd = _prepare(spawn)
        _take_more(spawn, code_fd)
        data = _data()
    except BaseException:
        _tell({"type": "broken", "text": traceback.format_exc(limit=-4)[-2000:]})
        os._exit(70)
    request = json.loads(_receive(code_fd))
    os.close(code_fd)
    _limits(spawn, request["limits"], data)
    if spawn.house and spawn.unseen_memory:
        anchor.drop()
    runner.channel.fd = EVENTS_FD
    report, code = runner.run(spawn.shell, request)
    if os.getpid() != home_pid:
        os._exit(code)  # a forked child ran off the end of the cell: only the cell itself reports
    _finish(report, request["token"])
    runner.leave(code)


def _prepare(spawn: Spawn) -> int:
    """Put the guards on; returns the descriptor that the code comes on."""
    spawn.pages.take()
    _enter(spawn)
    code_fd = _descriptors(spawn)
    _surroundings(spawn)
    _tell({"type": "ready", "guards": _guard(spawn)})
    return code_fd


def scout(spawn: Spawn, cells: int) -> int:
    """Live the life of a cell, as it is lived with most of them, to learn what that takes.

    Args:
        spawn: as for :func:`main`, with nobody listening.
        cells: how many typical ones to run.

    Returns:
        where the descriptor of the code is to be found
    """
    code_fd = _prepare(spawn)
    gc.freeze()
    runner.channel.fd = EVENTS_FD
    for code in runner.typical(cells):
        report, _ = runner.run(spawn.shell, json.loads(json.dumps({"code": code})))
        _finish(report, "")
    runner.wind_up()
    return code_fd


def _finish(report: dict[str, Any], token: str) -> None:
    text = json.dumps({"type": "end", "token": token, **report}, ensure_ascii=False)
    for packet in packets.message(text.encode("utf-8", "surrogatepass")):
        os.write(EVENTS_FD, packet)


def _tell(event: dict[str, Any]) -> None:
    # ready and broken come before any user code, when the channel is surely empty
    with contextlib.suppress(OSError):
        os.write(EVENTS_FD, packets.MESSAGE + json.dumps(event).encode()[: packets.PACKET - 1])


def _enter(spawn: Spawn) -> None:
    """Move into the run's house; the zygote has forked us into its process namespace."""
    if not spawn.house:
        return
    spawn.enter_groups()
    linux.setns(spawn.house["mnt"], linux.CLONE_NEWNS)
    isolation.move_in(spawn.uid, network=spawn.network or "netns" in spawn.guards_off)


def _descriptors(spawn: Spawn) -> int:
    os.setsid()
    for unset in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
        signal.signal(unset, signal.SIG_DFL)  # what our own processes set for themselves is not the cell's
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    fds = spawn.fds
    # move ours out of the way of the numbers they must end at
    high = {name: os.dup(fd) for name, fd in fds.items() if name != "control"}
    null = os.open("/dev/null", os.O_RDONLY)
    targets = {0: null, 1: high["stdout"], 2: high["stderr"]}
    code = os.dup(high["code"])
    for number, fd in targets.items():
        os.dup2(fd, number)
    events = os.dup(high["events"])
    while code == EVENTS_FD:
        code = os.dup(code)
    os.dup2(events, EVENTS_FD, inheritable=False)
    if "fds" in spawn.guards_off:
        if "control" in fds:
            os.close(fds["control"])
    else:
        linux.close_fds({0, 1, 2, EVENTS_FD, code})
    return code


def settle(shell: Any, home: str, tmp: str, *, keep_environment: bool) -> None:
    """What a process must have around it to be a cell, as far as it can be had before there is one.

    Args:
        shell: the IPython shell.
        home: the cell's home folder.
        tmp: its folder for temporary files.
        keep_environment: add to the environment only, for tests that prove that it matters.
    """
    if not keep_environment:
        os.environ.clear()
    path = [os.path.dirname(sys.executable), "/usr/local/bin", "/usr/bin", "/bin"]  # noqa: PTH120
    os.environ.update(
        {
            "HOME": home,
            "LANG": "C.UTF-8",
            "LOGNAME": "sandbox",
            "PATH": ":".join(dict.fromkeys(path)),
            "SHELL": "/bin/sh",
            "TERM": "dumb",
            "TMPDIR": tmp,
            "USER": "sandbox",
            **THREADS,
            "MPLBACKEND": MPLBACKEND,
        }
    )
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = sys.__stdout__ = Stream(runner.channel, packets.STDOUT)  # type: ignore[assignment,misc]
    sys.stderr = sys.__stderr__ = Stream(runner.channel, packets.STDERR)  # type: ignore[assignment,misc]
    if not sys.path or sys.path[0] != "":
        sys.path.insert(0, "")
    shell.ipython_dir = str(Path(home, ".ipython"))


def _surroundings(spawn: Spawn) -> None:
    os.umask(0o077)
    os.chdir(spawn.home)
    if not spawn.house:
        tmp = str(Path(spawn.home, "tmp"))
        os.mkdir(tmp, 0o700)  # noqa: PTH102
        settle(spawn.shell, spawn.home, tmp, keep_environment="env" in spawn.guards_off)
    runner.reseed()


def _guard(spawn: Spawn) -> dict[str, Any]:
    """Put every guard on, the filter last because it refuses what the others need."""
    off = spawn.guards_off
    linux.prctl(linux.PR_SET_DUMPABLE, 1)  # without it our own /proc entries are not ours
    kernfile.write("/proc/self/oom_score_adj", "1000")
    # made before the user changes: the paths may be out of the new one's reach
    rules = _rules(spawn) if "landlock" not in off and landlock.abi() else None
    if spawn.level < 2 and spawn.uid:
        _change_user(spawn)
    linux.drop_capabilities()
    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
    for kind, soft, hard in _ALWAYS:
        _limit(kind, soft, hard)
    if rules:
        _probe_folder(spawn, refused=False)
        rules.restrict()
        os.close(rules.fd)
        _probe_folder(spawn, refused=True)
    linux.prctl(linux.PR_SET_DUMPABLE, 1)
    if "seccomp" not in off:
        linux.install_filter(system_call_filter(spawn))
    return {
        "landlock_abi": rules.abi if rules else 0,
        "seccomp": "seccomp" not in off,
        "uid": os.getuid(),
        **_verify(off, housed=bool(spawn.house)),
    }


def system_call_filter(spawn: Spawn) -> bytes:
    """The filter program of a cell."""
    private = spawn.level >= 2
    return seccomp.build(
        linux.machine(),
        inet=private or spawn.network,
        unix=private,
        ipc=private,
        unseen_memory=spawn.unseen_memory,
        shared_owner=not private and not spawn.uid,
    )


def _change_user(spawn: Spawn) -> None:
    for folder in (spawn.home, os.environ["TMPDIR"]):
        os.chown(folder, spawn.uid, spawn.uid)
    linux.drop_bounding_set()
    os.setgroups([])
    os.setresgid(spawn.uid, spawn.uid, spawn.uid)
    os.setresuid(spawn.uid, spawn.uid, spawn.uid)


def _rules(spawn: Spawn) -> landlock.Ruleset:
    rules = landlock.Ruleset(tcp=spawn.level >= 2 or spawn.network)
    if spawn.level >= 2:
        rules.allow_read("/")
        rules.allow_write(*isolation.WRITABLE)
    else:
        rules.allow_read(*spawn.readable, *_PROC_READABLE, *_ETC_READABLE)
        rules.allow_write(spawn.home)
    rules.allow_write(*(f"/dev/{name}" for name in isolation.DEVICES))
    return rules


def _probe_folder(spawn: Spawn, *, refused: bool) -> None:
    """Positive and negative control: the same act succeeds before the rules are on and fails after."""
    try:
        if spawn.level >= 2:
            os.mkdir(f"{isolation.AREA}/.probe")  # noqa: PTH102
            os.rmdir(f"{isolation.AREA}/.probe")  # noqa: PTH106
        else:
            os.scandir("/").close()
    except PermissionError:
        if not refused:
            raise
        return
    if refused:
        raise RuntimeError("Landlock rules are on but do not refuse what they should")


def _verify(off: tuple[str, ...], *, housed: bool) -> dict[str, Any]:
    """Read back what the kernel says is on, rather than believe the calls that set it."""
    status = dict(line.split(":\t", 1) for line in kernfile.read("/proc/self/status").splitlines() if ":\t" in line)
    wrong = []
    if int(status["CapEff"], 16) or int(status["CapPrm"], 16):
        wrong.append("capabilities are left")
    if housed and int(status["CapBnd"], 16):
        wrong.append("capabilities can be gained")  # elsewhere an ordinary user may not say so, and needs not
    if status["NoNewPrivs"] != "1":
        wrong.append("no_new_privs is off")
    if status["Seccomp"] != "2" and "seccomp" not in off:
        wrong.append("the system call filter is off")
    if "seccomp" not in off:
        try:
            linux.unshare(linux.CLONE_NEWUSER)
            wrong.append("the system call filter lets unshare through")
        except PermissionError:
            pass
    if wrong:
        raise RuntimeError("; ".join(wrong))
    return {"no_new_privs": True, "capabilities": 0}


def _take_more(spawn: Spawn, code_fd: int) -> None:
    """Use the time until the code comes for pages that only some cells need."""
    waiting = select.poll()
    waiting.register(code_fd, select.POLLIN)
    if not waiting.poll(_IDLE_MS):
        spawn.more_pages.take(lambda: waiting.poll(0))
    gc.freeze()


def _receive(fd: int) -> bytes:
    data = bytearray()
    while chunk := os.read(fd, 1 << 20):
        data += chunk
    if not data:
        os._exit(0)  # the launcher no longer needs this standby
    return bytes(data)


def _data() -> int:
    """Bytes of memory of its own that this process has asked for."""
    return int(kernfile.read("/proc/self/statm").split()[5]) * resource.getpagesize()


def _limits(spawn: Spawn, limits: dict[str, Any], data: int) -> None:
    """Set the kernel's own limits, as far as they are the run's; none can be raised again."""
    cpu = int(time.process_time() + limits["cpu_s"]) + 2
    # a little below the tree's limit, so that one greedy process gets a MemoryError rather than a kill
    room = data + (int(limits["memory_mb"]) << 20) * 15 // 16
    megabyte = 1 << 20
    for kind, soft, hard in (
        (resource.RLIMIT_CPU, cpu, cpu + 1),
        (resource.RLIMIT_DATA, room, room) if "memory" not in spawn.guards_off else (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_FSIZE, limits["file_mb"] * megabyte, limits["file_mb"] * megabyte),
        (resource.RLIMIT_NOFILE, limits["descriptors"], limits["descriptors"]),
        (resource.RLIMIT_NPROC, limits["nproc"], limits["nproc"]),
    ):
        _limit(kind, soft, hard)


#: limits that are the same for every cell
_ALWAYS: Final = (
    (resource.RLIMIT_CORE, 0, 0),
    (resource.RLIMIT_STACK, 8 << 20, 64 << 20),
    (resource.RLIMIT_MEMLOCK, 64 << 10, 64 << 10),
    (resource.RLIMIT_MSGQUEUE, 0, 0),
    # those that wait, and timers, count for the user, who may be the worker's own
    (resource.RLIMIT_SIGPENDING, 1024, 1024),
    (resource.RLIMIT_RTPRIO, 0, 0),
    (resource.RLIMIT_NICE, 0, 0),
)


def _limit(kind: int, soft: int, hard: int) -> None:
    try:
        resource.setrlimit(kind, (soft, hard))
    except ValueError:  # more than the worker itself may have
        _, most = resource.getrlimit(kind)
        resource.setrlimit(kind, (min(soft, most), min(hard, most)))


THREADS: Final = {
    f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB", "BLIS", "NUMBA", "RAYON")
}
MPLBACKEND: Final = "module://matplotlib_inline.backend_inline"
