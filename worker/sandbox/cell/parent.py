"""The parent of a cell that has no process namespace: forks it, reaps, tells how it ended, leaves nothing below.

It holds the only descriptor on which the wait status travels; the cell never has it.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import traceback
from typing import Final, NoReturn

from ..linux import processes, rmtree, syscalls
from ..protocol import messages
from . import main as cell_main
from .spawn import CELL_FDS, Spawn

_MESSAGE: Final = 1 << 16


def main(spawn: Spawn) -> NoReturn:
    """Be the parent of one cell, so that nothing escapes from below it, until told to end."""
    control = socket.socket(fileno=spawn.fds["control"])
    try:
        _serve(spawn, control)
    except BaseException:
        with contextlib.suppress(OSError):
            control.send(messages.encode(messages.Broken(traceback.format_exc(limit=-4)[-2000:])))
        _pause(control)
    os._exit(1)


def _serve(spawn: Spawn, control: socket.socket) -> None:
    if not spawn.weakening.fds:
        syscalls.close_fds({*spawn.fds.values(), *spawn.groups})
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
    wake_r, wake_w = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_w, warn_on_full_buffer=False)
    order = control.recv(_MESSAGE)
    if not order or not isinstance(messages.decode(order), messages.Proceed):
        os._exit(0)  # the launcher went away, or ends us, before it could account for us
    spawn.enter_groups()
    _watch(spawn, control, wake_r, _fork_cell(spawn, control))


def _fork_cell(spawn: Spawn, control: socket.socket) -> int:
    syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
    pid = os.fork()
    if pid == 0:
        signal.set_wakeup_fd(-1)
        control.detach()
        cell_main.main(spawn)
    for name in CELL_FDS:
        os.close(spawn.fds[name])
    control.send(messages.encode(messages.CellForked()))
    return pid


def _watch(spawn: Spawn, control: socket.socket, wake: int, pid: int) -> None:
    poll = select.poll()
    poll.register(control, select.POLLIN)
    poll.register(wake, select.POLLIN)
    while True:
        for fd, _ in poll.poll():
            if fd == wake:
                with contextlib.suppress(BlockingIOError):
                    os.read(wake, 512)
                for ended, status, most in processes.reap():
                    if ended == pid:
                        control.send(messages.encode(messages.CellEnded(spawn.order.number, status, most)))
            else:
                _end(spawn, control)


def _end(spawn: Spawn, control: socket.socket) -> NoReturn:
    # the only message is Kill, and the end of the stream means that the launcher is gone: nothing may stay either way
    if os.getuid() == 0 and spawn.uid != 0:
        _kill_user(spawn.uid)
    processes.kill_below(os.getpid())
    rmtree.remove_folder(spawn.home)  # the launcher does it, too, if it still lives
    del control
    os._exit(0)


def _kill_user(uid: int) -> None:
    pid = os.fork()
    if pid == 0:
        # everything the cell's own user may signal is the cell's: one call that nothing can outrun
        os.setresuid(uid, uid, uid)
        with contextlib.suppress(OSError):
            os.kill(-1, signal.SIGKILL)
        os._exit(0)
    os.waitpid(pid, 0)


def _pause(control: socket.socket) -> None:
    # the launcher ends us once it has read the message
    with contextlib.suppress(OSError):
        control.recv(_MESSAGE)
