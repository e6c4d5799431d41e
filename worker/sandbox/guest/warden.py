"""Process 1 of the zygote's namespaces: small, so that the init of every run, its fork, costs next to nothing.

The zygote proper, with all its libraries, is its child. When either ends, both do, and with them every run.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
from typing import Any, Final, NoReturn

from . import init, isolation, linux, tree

_MESSAGE: Final = 1 << 16


class Warden:
    """Forks an init into a new process namespace whenever the launcher asks."""

    def __init__(self, control: socket.socket, zygote: int) -> None:
        """Begin.

        Args:
            control: the launcher asks here.
            zygote: process id of the child that must live.
        """
        self._control, self._zygote = control, zygote
        self._hidden = isolation.roots_below_tmp()
        self._own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        self._wake, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)

    def serve(self) -> NoReturn:
        """Serve until launcher or zygote is gone."""
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == self._wake:
                    os.read(self._wake, 512)
                    if any(pid == self._zygote for pid, _, _ in tree.reap()):
                        os._exit(1)
                else:
                    self._answer()

    def _answer(self) -> None:
        data, fds, _, _ = socket.recv_fds(self._control, _MESSAGE, 1)
        if not data:
            os._exit(0)
        request = json.loads(data)
        try:
            linux.unshare(linux.CLONE_NEWPID)
            pid = os.fork()
        except OSError as err:
            self._control.send(json.dumps({"op": "refused", "id": request["id"], "text": str(err)}).encode())
            pid = -1
        if pid == 0:
            signal.set_wakeup_fd(-1)
            init.main(self._spawn(request, fds[0]))
        os.close(fds[0])
        # without this the next unshare would fail: it works once per stay in a namespace
        linux.setns(self._own, linux.CLONE_NEWPID)
        if pid > 0:
            pidfd = os.pidfd_open(pid)
            socket.send_fds(self._control, [json.dumps({"op": "spawned", "id": request["id"]}).encode()], [pidfd])
            os.close(pidfd)

    def _spawn(self, request: dict[str, Any], control: int) -> init.Spawn:
        return init.Spawn(
            level=2,
            fds={"control": control},
            uid=request["uid"],
            limits=request["limits"],
            network=request["network"],
            home=isolation.HOME,
            unseen_memory=request["unseen_memory"],
            guards_off=tuple(request["guards_off"]),
            hidden=self._hidden,
            readable=[],
            shell=None,
        )
