"""The way from a fresh interpreter to the zygote: into the namespaces first, while nothing is loaded yet.

A library that starts a thread would make that impossible; and process 1, which stays behind as the
namespace server and is forked for every run, has to be small. So this module imports only what these few steps need.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import resource
import signal
import socket
import sys
import traceback
from typing import Any, Final, NoReturn

from ..linux import namespaces, syscalls
from . import memory_importer, namespace_server

#: how kernels and containers refuse namespaces
_REFUSALS: Final = {errno.EPERM, errno.ENOSPC, errno.EINVAL, errno.ENOSYS, errno.EACCES, errno.EUSERS}


class Entry:
    """The steps, in their order."""

    def __init__(self, control: socket.socket, config: dict[str, Any]) -> None:
        """Prepare.

        Args:
            control: to the launcher.
            config: ``level`` to try, ``network``, and what :class:`zygote.Zygote` takes.
        """
        self._control, self._config = control, config
        self._root = os.getuid() == 0
        self._outer = os.geteuid(), os.getegid()  # unreadable once the user namespace has changed

    def run(self) -> NoReturn:
        """Isolate, load, serve, end."""
        ours = memory_importer.MemoryImporter()
        sys.meta_path.insert(0, ours)
        try:
            missing = self._isolate()
            from .server import Zygote  # with all that the namespace_server must not have

            zygote = Zygote(self._control, self._config, missing)
            zygote.load()
            sys.meta_path.remove(ours)
            self._control.send(json.dumps({"op": "ready", **zygote.facts}).encode())
        except BaseException:
            text = traceback.format_exc(limit=-6)[-4000:]
            self._control.send(json.dumps({"op": "broken", "text": text}).encode())
            os._exit(1)
        zygote.serve()

    def _isolate(self) -> list[str]:
        """Enter the namespaces; returns why there are none, if so."""
        with contextlib.suppress(OSError):
            os.setgroups([])
        _allow_pins()
        if self._config["level"] < 2:
            return self._give_up("namespaces are switched off")
        jail = namespaces.Jail(network=self._config["network"])
        try:
            jail.enter(self._write_maps)
        except OSError as err:
            if err.errno not in _REFUSALS:
                raise
            return self._give_up(f"namespaces: {err}")
        pid = os.fork()
        if pid:
            # the launcher is told by the end of the socket, which the child holds too, when that one dies
            socket.send_fds(self._control, [b'{"op":"child"}'], [os.pidfd_open(pid)])
            os._exit(0)
        try:
            jail.build(self._become)
        except OSError as err:
            self._control.send(json.dumps({"op": "retry", "text": f"mounts: {err}"}).encode())
            os._exit(0)
        self._split()
        return []

    @staticmethod
    def _give_up(why: str) -> list[str]:
        syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
        return [why]

    def _split(self) -> None:
        """Leave process 1 small: it becomes the namespace_server, and the zygote goes on as its child."""
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pid = os.fork()
        if pid:
            near.close()
            self._control.close()
            namespace_server.NamespaceServer(far, pid).serve()
        far.close()
        socket.send_fds(self._control, [b'{"op":"namespace_server"}'], [near.fileno()])
        near.close()

    def _write_maps(self) -> None:
        if self._root:
            self._control.send(b'{"op":"map"}')
            if self._control.recv(16) != b"mapped":
                raise OSError(errno.EPERM, "the launcher could not write the user map")
        else:
            namespaces.write_own_maps(*self._outer)

    @staticmethod
    def _become() -> None:
        uid = namespaces.INSIDE_UID
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)


def _allow_pins() -> None:
    """Of memory that every run is to have copies of; a cell is allowed next to none."""
    _, most = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    most = resource.RLIM_INFINITY if os.geteuid() == 0 else most
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (most, most))


def main() -> NoReturn:
    """Entry point: descriptor of the socket and configuration come as arguments."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # whoever started the worker may have ignored it
    control = socket.socket(fileno=int(sys.argv[1]))
    config = json.loads(sys.argv[2])
    del sys.argv[1:]
    sys.argv[0] = ""
    Entry(control, config).run()
