"""Starts our modules from their file paths, in clean processes, in an interpreter that has none of our packages."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

from .protocol import messages
from .protocol.weakening import Weakening

_HERE: Final = Path(__file__).resolve().parent
#: registers a folder as a package under a private name, leaving the module search path as it was
_BOOT: Final = (
    "import importlib,sys,types;"
    "name,path,module=sys.argv[1:4];del sys.argv[1:4];"
    "package=types.ModuleType(name);package.__path__=[path];sys.modules[name]=package;"
    "importlib.import_module(name+'.'+module).main()"
)


def launcher_command(python: str, fd: int, config: messages.LauncherConfig) -> list[str]:
    """How the launcher is executed: isolated, and without the site packages it does not need."""
    start = [python, "-I", "-S", "-B", "-c", _BOOT]
    return [*start, "_codeexec_sandbox", str(_HERE), "launcher.main", str(fd), _argument(config)]


def zygote_command(python: str, fd: int, config: messages.ZygoteConfig) -> list[str]:
    """How the zygote is executed, in the interpreter of the cells."""
    start = [python, "-I", "-B", "-X", "utf8", "-c", _BOOT]
    return [*start, "_codeexec_sandbox", str(_HERE), "zygote.entry", str(fd), _argument(config)]


def _argument(config: messages.LauncherConfig | messages.ZygoteConfig) -> str:
    return messages.encode(config).decode("utf-8", "surrogatepass")


def execute(
    command: Callable[[int], list[str]], weakening: Weakening, *, stderr: int = subprocess.DEVNULL
) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start a process that has nothing of ours but one end of a socket: no environment, no other descriptor.

    Args:
        command: the command line, given the number of the descriptor.
        weakening: in tests, whether environment and descriptors are let through.
        stderr: as :class:`subprocess.Popen` takes it.

    Returns:
        the process, and our end of the socket

    Raises:
        OSError: it cannot be executed.
    """
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with far:
        far.set_inheritable(True)
        try:
            process = subprocess.Popen(
                command(far.fileno()),
                env=None if weakening.env else {},
                pass_fds=() if weakening.fds else (far.fileno(),),
                close_fds=not weakening.fds,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                start_new_session=True,
                cwd="/",
            )
        except OSError:
            near.close()
            raise
    return process, near
