"""The way from a fresh interpreter to the zygote: into the namespaces first, while nothing is loaded yet.

A library that starts a thread would make that impossible; and process 1, which stays behind as the
namespace server and is forked for every run, has to be small. So this module imports only what these few steps need.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import sys
import traceback
from typing import Final, NoReturn

from ..fastfork import tuning
from ..linux import namespaces, syscalls
from ..protocol import messages
from . import memory_importer, namespace_server

_MESSAGE: Final = 1 << 16
#: how kernels and containers refuse namespaces
_REFUSALS: Final = {errno.EPERM, errno.ENOSPC, errno.EINVAL, errno.ENOSYS, errno.EACCES, errno.EUSERS}


class Entry:
    """The steps, in their order."""

    def __init__(self, control: socket.socket, config: messages.ZygoteConfig) -> None:
        """Prepare.

        Args:
            control: to the launcher.
            config: from the launcher.
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
            # imports all that the namespace server must not have
            from . import namespaced_zygote, plain_zygote

            kind = plain_zygote.PlainZygote if missing else namespaced_zygote.NamespacedZygote
            zygote = kind(self._control, self._config, missing)
            ready = zygote.load()
            sys.meta_path.remove(ours)
            self._send(ready)
        except BaseException:
            self._send(messages.Broken(traceback.format_exc(limit=-6)[-4000:]))
            os._exit(1)
        zygote.serve()

    def _send(self, message: messages.Message, *fds: int) -> None:
        socket.send_fds(self._control, [messages.encode(message)], fds)

    def _isolate(self) -> list[str]:
        """Enter the namespaces; returns why there are none, if so."""
        with contextlib.suppress(OSError):
            os.setgroups([])
        if self._config.fast_fork:
            tuning.allow_pins()
        if self._config.level < 2:
            return self._give_up("namespaces are switched off")
        jail = namespaces.Jail(network=self._config.network)
        try:
            jail.enter(self._write_maps)
        except OSError as err:
            if err.errno not in _REFUSALS:
                raise
            return self._give_up(f"namespaces: {err}")
        pid = os.fork()
        if pid:
            # the launcher is told by the end of the socket, which the child holds too, when that one dies
            self._send(messages.EnteredNamespaces(), os.pidfd_open(pid))
            os._exit(0)
        what = "mounts"
        try:
            jail.build(self._become)
            what = "namespaces"
            self._try_moving_in()
        except OSError as err:
            self._send(messages.NoNamespaces(f"{what}: {err}"))
            os._exit(0)
        self._split()
        return []

    @staticmethod
    def _give_up(why: str) -> list[str]:
        syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
        return [why]

    def _split(self) -> None:
        """Leave process 1 small: it becomes the namespace server, and the zygote goes on as its child."""
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pid = os.fork()
        if pid:
            near.close()
            self._control.close()
            namespace_server.NamespaceServer(far, pid).serve()
        far.close()
        self._send(messages.ServesNamespaces(), near.fileno())
        near.close()

    def _write_maps(self) -> None:
        if self._root:
            self._send(messages.AskUserMap())
            answer = messages.decode(self._control.recv(_MESSAGE))
            if not isinstance(answer, messages.UserMapWritten) or not answer.written:
                raise OSError(errno.EPERM, "the launcher could not write the user map")
        else:
            namespaces.write_own_maps(*self._outer)

    @staticmethod
    def _try_moving_in() -> None:
        """Do in a child what each cell does: a container's filter may let namespaces be made and refuse the rest.

        Raises:
            OSError: the kernel, or the filter, refuses.
        """
        near, far = os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            try:
                syscalls.unshare(syscalls.CLONE_NEWNS)
                for name, kind in (("mnt", syscalls.CLONE_NEWNS), ("pid", syscalls.CLONE_NEWPID)):
                    syscalls.setns(os.open(f"/proc/self/ns/{name}", os.O_RDONLY | os.O_CLOEXEC), kind)
                namespaces.move_in(namespaces.INSIDE_UID, network=False)
            except OSError as err:
                os.write(far, str(err).encode())
            finally:
                os._exit(0)
        os.close(far)
        with os.fdopen(near) as pipe:
            refused = pipe.read()
        os.waitpid(pid, 0)
        if refused:
            raise OSError(refused)

    @staticmethod
    def _become() -> None:
        uid = namespaces.INSIDE_UID
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)


def main() -> NoReturn:
    """Entry point: descriptor of the socket and configuration come as arguments."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # whoever started the worker may have ignored it
    control = socket.socket(fileno=int(sys.argv[1]))
    config = messages.decode(sys.argv[2].encode("utf-8", "surrogatepass"))
    assert isinstance(config, messages.ZygoteConfig)
    del sys.argv[1:]
    sys.argv[0] = ""
    Entry(control, config).run()
