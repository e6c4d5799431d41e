"""The process that becomes the cell: puts its guards on, parks, and runs the code it is given, once."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from ..fastfork import memory_holder
from ..linux import namespaces, syscalls
from ..protocol import packets
from . import guards, rehearsal, runner, soft_limit
from .shell import channel
from .streams import Stream

if TYPE_CHECKING:
    from .spawn import Spawn

#: the event channel's descriptor, the only one beside the standard three
EVENTS_FD: Final = 3
#: a standby without work for so long has time for more (milliseconds)
_IDLE_MS: Final = 25


def main(spawn: Spawn) -> NoReturn:
    """Become the cell."""
    home_pid = os.getpid()
    try:
        code_fd = _prepare(spawn)
        _take_more(spawn, code_fd)
        data = guards.data()
    except BaseException:
        _tell({"type": "broken", "text": traceback.format_exc(limit=-4)[-2000:]})
        os._exit(70)
    request = _receive(code_fd)
    _leave_listener(spawn)
    guards.limit(spawn, request["limits"], data)
    if spawn.namespaces and spawn.unseen_memory:
        memory_holder.drop()
    channel.fd = EVENTS_FD
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
    _tell({"type": "ready", "guards": guards.put_on(spawn)})
    return code_fd


def _leave_listener(spawn: Spawn) -> None:
    """Whoever had it could answer for itself; the launcher has its own duplicate by now."""
    if spawn.listener:
        os.close(spawn.listener)


def profile(spawn: Spawn, cells: int) -> int:
    """Live the life of a cell, as it is lived with most of them, to learn what that takes.

    Args:
        spawn: as for :func:`main`, with nobody listening.
        cells: how many typical ones to run.

    Returns:
        where the descriptor of the code is to be found
    """
    code_fd = _prepare(spawn)
    gc.freeze()
    channel.fd = EVENTS_FD
    for code in rehearsal.typical(cells):
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
    """Move into the run's namespaces; the zygote has forked us into its process namespace."""
    if not spawn.namespaces:
        return
    spawn.enter_groups()
    syscalls.setns(spawn.namespaces["mnt"], syscalls.CLONE_NEWNS)
    namespaces.move_in(spawn.uid, network=spawn.network or "netns" in spawn.guards_off)


def _descriptors(spawn: Spawn) -> int:
    os.setsid()
    for unset in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
        signal.signal(unset, signal.SIG_DFL)  # what our own processes set for themselves is not the cell's
    signal.signal(signal.SIGINT, signal.default_int_handler)
    soft_limit.disarm()
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
        syscalls.close_fds({0, 1, 2, EVENTS_FD, code})
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
            "TMPDIR": tmp,
            "USER": "sandbox",
            **THREADS,
            **KERNEL,
        }
    )
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = sys.__stdout__ = Stream(channel, packets.STDOUT)  # type: ignore[assignment,misc]
    sys.stderr = sys.__stderr__ = Stream(channel, packets.STDERR)  # type: ignore[assignment,misc]
    _search_working_folder()
    shell.move_home(home)


def _search_working_folder() -> None:
    """Have modules found in the working folder, after those of the standard library, as a kernel has them found."""
    if "" in sys.path:
        return
    installed = [place for place, entry in enumerate(sys.path) if entry.endswith(("site-packages", "dist-packages"))]
    sys.path.insert(installed[0] if installed else len(sys.path), "")


def _surroundings(spawn: Spawn) -> None:
    # where a cell shares folders with the host, its files are its own
    os.umask(0o022 if spawn.namespaces else 0o077)
    os.chdir(spawn.home)
    if not spawn.namespaces:
        tmp = str(Path(spawn.home, "tmp"))
        os.mkdir(tmp, 0o700)  # noqa: PTH102
        settle(spawn.shell, spawn.home, tmp, keep_environment="env" in spawn.guards_off)
    runner.reseed()


def _take_more(spawn: Spawn, code_fd: int) -> None:
    """Use the time until the code comes for pages that only some cells need."""
    waiting = select.poll()
    waiting.register(code_fd, select.POLLIN)
    if not waiting.poll(_IDLE_MS):
        spawn.more_pages.take(lambda: waiting.poll(0))
    gc.freeze()


def _receive(fd: int) -> dict[str, Any]:
    """The request, with the descriptors that came along in the place of their names."""
    with socket.socket(fileno=fd) as sock:
        start, fds, _, _ = socket.recv_fds(sock, 1 << 20, 2, socket.MSG_CMSG_CLOEXEC)
        data = bytearray(start)
        while chunk := sock.recv(1 << 20):
            data += chunk
    if not data:
        os._exit(0)  # the launcher no longer needs this standby
    request: dict[str, Any] = json.loads(data)
    return request | dict(zip(request["descriptors"], fds, strict=True))


#: what libraries make at most by themselves: each thread's stack takes 8 MB of the memory limit, and on a machine of
#: 64 processors the pools of polars and XLA, and the processes of joblib, would not fit
_POOL: Final = str(min(os.cpu_count() or 1, 8))
THREADS: Final = {
    **{
        f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB", "BLIS", "NUMBA", "RAYON")
    },
    **dict.fromkeys(("POLARS_MAX_THREADS", "NPROC", "LOKY_MAX_CPU_COUNT"), _POOL),
}
#: what a notebook's kernel sets
KERNEL: Final = {
    "CLICOLOR": "1",
    "CLICOLOR_FORCE": "1",
    "FORCE_COLOR": "1",
    "GIT_PAGER": "cat",
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "PAGER": "cat",
    "TERM": "xterm-color",
}
