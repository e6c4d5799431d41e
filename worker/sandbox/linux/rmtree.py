"""Removing what a cell has left on a disk that it shared with others."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from typing import Final

_ROUNDS: Final = 16


def remove_folder(path: str) -> None:
    """Remove a folder whose every process is dead, whatever modes, names and depth it was left with."""
    for _ in range(_ROUNDS):  # another may do the same at this moment: launcher, init and worker each try
        with contextlib.suppress(OSError):
            _empty(path)
            os.rmdir(path)  # noqa: PTH106 - str paths of any bytes throughout
        if not os.path.lexists(path):
            return


def _empty(path: str) -> None:
    """Bring every folder up to the top before its turn: a cell can nest deeper than any path or recursion reaches."""
    with _opened(path) as top:
        while names := os.listdir(top):  # noqa: PTH208
            for name in names:
                with contextlib.suppress(FileNotFoundError):
                    _remove(name, top)


def _remove(name: str, top: int) -> None:
    if not _is_folder(name, top):
        os.unlink(name, dir_fd=top)
        return
    with _opened(name, top) as fd:
        for below in os.listdir(fd):  # noqa: PTH208
            if _is_folder(below, fd):
                with _opened(below, fd):  # moving a folder writes into it
                    os.rename(below, f".{os.urandom(8).hex()}", src_dir_fd=fd, dst_dir_fd=top)
            else:
                os.unlink(below, dir_fd=fd)
    os.rmdir(name, dir_fd=top)


def _is_folder(name: str, fd: int) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode)


@contextlib.contextmanager
def _opened(name: str, fd: int | None = None) -> Iterator[int]:
    """A folder, never one that a link leads to, whatever its modes were."""
    place = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
    try:
        os.chmod(f"/proc/self/fd/{place}", stat.S_IRWXU)  # noqa: PTH101
        opened = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=place)
    finally:
        os.close(place)
    try:
        yield opened
    finally:
        os.close(opened)
