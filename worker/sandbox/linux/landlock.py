"""Landlock: which files the cell may touch, and that it may signal or reach nothing outside of itself.

The ruleset is built once; a cell adds nothing but its own work area and puts it on.
"""

from __future__ import annotations

import contextlib
import os
import struct
from typing import Final

from . import syscalls

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_READ: Final = _EXECUTE | _READ_FILE | _READ_DIR
#: rights that make sense on a file that is no directory
_FILE_RIGHTS: Final = _EXECUTE | _WRITE_FILE | _READ_FILE | (1 << 14) | (1 << 15)
#: all file rights, by the ABI that brought the last of them
_ALL: Final = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
_DEVICE_IOCTL: Final = 1 << 15
_NET_TCP: Final = 3
_SCOPES: Final = 3  # abstract unix sockets, signals


def abi() -> int:
    """The version the kernel speaks; 0 when it has none."""
    try:
        return syscalls.syscall(syscalls.LANDLOCK_CREATE_RULESET, 0, 0, 1)
    except OSError:
        return 0


class Ruleset:
    """Rules that are put on with :meth:`restrict`."""

    def __init__(self, *, tcp: bool) -> None:
        """Make an empty ruleset, that allows nothing.

        Args:
            tcp: TCP stays allowed (something else contains it).
        """
        self.abi = abi()
        self._files = _ALL[min(self.abi, 5)]
        net = 0 if tcp or self.abi < 4 else _NET_TCP
        scopes = _SCOPES if self.abi >= 6 else 0
        attr = struct.pack("QQQ", self._files, net, scopes)[: 24 if scopes else 16 if self.abi >= 4 else 8]
        self.fd = syscalls.syscall(syscalls.LANDLOCK_CREATE_RULESET, attr, len(attr), 0)

    def allow_read(self, *paths: str) -> None:
        """Allow to read and execute below these paths; those that do not exist are passed over."""
        for path in paths:
            self._add(path, _READ)

    def allow_write(self, *paths: str) -> None:
        """Allow everything but device control below these paths."""
        for path in paths:
            self._add(path, self._files & ~_DEVICE_IOCTL)

    def restrict(self) -> None:
        """Put the rules on this process for good."""
        syscalls.syscall(syscalls.LANDLOCK_RESTRICT_SELF, self.fd, 0)

    def _add(self, path: str, rights: int) -> None:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
            try:
                if not os.path.isdir(path):  # noqa: PTH112 - str paths throughout
                    rights &= _FILE_RIGHTS
                syscalls.syscall(
                    syscalls.LANDLOCK_ADD_RULE, self.fd, 1, struct.pack("=Qi", rights & self._files, fd), 0
                )
            finally:
                os.close(fd)
