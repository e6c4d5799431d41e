"""The process that becomes the cell: puts its guards on, parks, and runs the code it is given, once."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from ..linux import syscalls
from ..protocol import messages, packets
from . import environment, guards, rehearsal, runner, soft_limit
from .shell import channel
from .spawn import CELL_FDS
from .streams import Stream

if TYPE_CHECKING:
    from .spawn import Spawn

#: the event channel's descriptor, the only one beside the standard three
EVENTS_FD: Final = 3


def main(spawn: Spawn) -> NoReturn:
    """Become the cell."""
    home_pid = os.getpid()
    try:
        code_fd = _prepare(spawn)
        gc.freeze()
        data = guards.data()
    except BaseException:
        _tell(messages.Broken(traceback.format_exc(limit=-4)[-2000:]))
        os._exit(70)
    request, fds = _receive(code_fd)
    _leave_listener(spawn)
    guards.limit(spawn, request, data)
    spawn.hold_memory()
    channel.fd = EVENTS_FD
    report, code = runner.run(spawn.shell, request, fds)
    if os.getpid() != home_pid:
        os._exit(code)  # a forked child ran off the end of the cell: only the cell itself reports
    _finish(report, request.token)
    runner.leave(code)


def _prepare(spawn: Spawn) -> int:
    """Put the guards on; returns the descriptor that the code comes on."""
    spawn.tuning.adopt()
    spawn.enter()
    code_fd = _descriptors(spawn)
    _surroundings(spawn)
    _tell(messages.CellReady(guards.put_on(spawn)))
    return code_fd


def _leave_listener(spawn: Spawn) -> None:
    """Whoever had it could answer for itself; the launcher has its own duplicate by now."""
    if spawn.listener:
        os.close(spawn.listener)


def rehearse(spawn: Spawn) -> int:
    """Do what a cell does, to learn which memory that takes.

    Args:
        spawn: as for :func:`main`, with nobody listening.

    Returns:
        where the descriptor of the code is found
    """
    code_fd = _prepare(spawn)
    gc.freeze()
    channel.fd = EVENTS_FD
    for code in rehearsal.typical(2):
        report, _ = runner.run(spawn.shell, _as_received(code), {})
        _finish(report, "")
    runner.wind_up()
    return code_fd


def _as_received(code: str) -> messages.CellCode:
    limits = messages.CellLimits(0.0, 0.0, 0.0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    received = messages.decode(messages.encode(messages.CellCode(code, (), (), (), limits, 0, "")))
    assert isinstance(received, messages.CellCode)
    return received


def _finish(report: dict[str, Any], token: str) -> None:
    status = report["status"]
    code = report.get("code", int(status == "error"))
    end = messages.EndReport(token, status, code, report.get("error"), report.get("left"))
    for packet in packets.message(messages.encode(end)):
        os.write(EVENTS_FD, packet)


def _tell(message: messages.CellReady | messages.Broken) -> None:
    # this comes before any user code, when the channel is surely empty
    with contextlib.suppress(OSError):
        os.write(EVENTS_FD, packets.MESSAGE + messages.encode(message)[: packets.PACKET - 1])


def _descriptors(spawn: Spawn) -> int:
    os.setsid()
    for unset in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
        signal.signal(unset, signal.SIG_DFL)  # what our own processes set for themselves is not the cell's
    signal.signal(signal.SIGINT, signal.default_int_handler)
    soft_limit.disarm()
    fds = spawn.fds
    # move ours out of the way of the numbers they must end at
    high = {name: os.dup(fds[name]) for name in CELL_FDS}
    null = os.open("/dev/null", os.O_RDONLY)
    targets = {0: null, 1: high["stdout"], 2: high["stderr"]}
    code = os.dup(high["code"])
    for number, fd in targets.items():
        os.dup2(fd, number)
    events = os.dup(high["events"])
    while code == EVENTS_FD:
        code = os.dup(code)
    os.dup2(events, EVENTS_FD, inheritable=False)
    if spawn.weakening.fds:
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
    os.environ.update(environment.variables(home, tmp))
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
    os.umask(0o022 if spawn.namespaced else 0o077)
    os.chdir(spawn.home)
    if not spawn.namespaced:
        tmp = str(Path(spawn.home, "tmp"))
        os.mkdir(tmp, 0o700)  # noqa: PTH102
        settle(spawn.shell, spawn.home, tmp, keep_environment=spawn.weakening.env)
    runner.reseed()


def _receive(fd: int) -> tuple[messages.CellCode, dict[str, int]]:
    """The request, and the descriptors that came along, by their names."""
    with socket.socket(fileno=fd) as sock:
        start, fds, _, _ = socket.recv_fds(sock, 1 << 20, 2, socket.MSG_CMSG_CLOEXEC)
        data = bytearray(start)
        while chunk := sock.recv(1 << 20):
            data += chunk
    if not data:
        os._exit(0)  # the launcher no longer needs this standby
    message = messages.decode(data)
    assert isinstance(message, messages.CellCode)
    return message, dict(zip(message.descriptors, fds, strict=True))
