"""A TCP port before the server's socket, whose connections can be made half open."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path


class Proxy:
    """Carries bytes both ways until told to let them fall.

    Args:
        target: the server's unix socket.
    """

    def __init__(self, target: Path) -> None:
        self._target = target
        self._lock = threading.Lock()
        self._ends: set[socket.socket] = set()  # both ends of every connection, so that none is closed too early
        self._dropping: set[socket.socket] = set()
        self._door = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    def url(self, database: int) -> str:
        """Where clients connect."""
        return f"redis://127.0.0.1:{self._door.getsockname()[1]}/{database}"

    def drop(self) -> int:
        """From now on nothing arrives on the connections there are, and nobody is told. Returns how many."""
        with self._lock:
            self._dropping |= self._ends
            return len(self._dropping) // 2

    def close(self) -> None:
        """Close everything."""
        self._door.close()
        with self._lock:
            ends, self._ends = self._ends, set()
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._door.accept()
            except OSError:
                return  # closed
            far = socket.socket(socket.AF_UNIX)
            try:
                far.connect(str(self._target))
            except OSError:
                near.close()
                far.close()
                continue
            with self._lock:
                self._ends |= {near, far}
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(source, sink), name="proxy", daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if source not in self._dropping:
                    sink.sendall(data)
            if source not in self._dropping:
                sink.shutdown(socket.SHUT_WR)
