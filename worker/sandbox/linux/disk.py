"""How much of a shared disk a cell fills, where it has no file system of its own."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from . import accounting, processes

#: where cells work that share a disk, the first that can be written
FOLDERS: Final = ("/tmp", "/var/tmp")  # noqa: S108
_BLOCK: Final = 512
_WRITE: Final = stat.S_IWUSR | stat.S_IXUSR
#: how the kernel marks, in a list of mappings, a file that no folder has any more
_DELETED: Final = b" (deleted)"


class Unmeasurable(Exception):
    """A cell made something that could hide any amount."""


def scratch() -> str:
    """The folder for what cells write.

    Raises:
        FileNotFoundError: there is none.
    """
    for folder in FOLDERS:
        if os.access(folder, os.W_OK | os.X_OK):
            return folder
    raise FileNotFoundError(errno.ENOENT, "no folder for cells can be written", " or ".join(FOLDERS))


def measure(folder: Path, most: int) -> tuple[int, int]:
    """Bytes and number of files below a folder, looking at no more than ``most`` of them.

    Raises:
        Unmeasurable: a folder lies too deep to be looked into, or can be written but not read.
    """
    size = count = 0
    todo = [str(folder)]
    while todo and count <= most:
        path = todo.pop()
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    count += 1
                    with contextlib.suppress(FileNotFoundError):
                        size += entry.stat(follow_symlinks=False).st_blocks * _BLOCK
                        if entry.is_dir(follow_symlinks=False):
                            todo.append(entry.path)
        except OSError as err:
            if err.errno == errno.ENAMETOOLONG or (err.errno == errno.EACCES and _writable(path)):
                raise Unmeasurable(path) from None
    return size, count


def _writable(path: str) -> bool:
    with contextlib.suppress(OSError):
        return stat.S_IMODE(os.lstat(path).st_mode) & _WRITE == _WRITE
    return False


def removed(pids: Iterable[int], folder: Path, file_size: int) -> int:
    """Bytes of files that no folder has any more, but that these processes have open or mapped.

    Args:
        pids: the processes.
        folder: on whose file system such files count.
        file_size: what a file counts whose size cannot be seen: the most it can have.

    Raises:
        Unmeasurable: a process keeps to itself what it has open.
    """
    device = folder.stat().st_dev
    sizes: dict[int, int] = {}
    mapped: set[int] = set()
    for pid in pids:
        # threads need not share their descriptors
        for task in processes.tasks(pid):
            sizes |= _open(pid, task, device)
        for where in (f"/proc/{pid}", *(f"/proc/{pid}/task/{task}" for task in processes.tasks(pid))):
            if maps := _read(f"{where}/maps"):
                mapped |= _mapped(maps, device)
                break
    return sum(sizes.values()) + file_size * len(mapped - set(sizes))


def _open(pid: int, task: str, device: int) -> dict[int, int]:
    sizes = {}
    try:
        with os.scandir(f"/proc/{pid}/task/{task}/fd") as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    file = entry.stat()
                    if stat.S_ISREG(file.st_mode) and not file.st_nlink and file.st_dev == device:
                        sizes[file.st_ino] = file.st_blocks * _BLOCK
    except PermissionError:
        # of the dead as well as of a program that was executed though it may not be read
        if accounting.resident(pid):
            raise Unmeasurable(f"process {pid}") from None
    except OSError:
        pass  # gone
    return sizes


def _mapped(maps: bytes, device: int) -> set[int]:
    if _DELETED not in maps:
        return set()
    name = f"{os.major(device):02x}:{os.minor(device):02x}".encode()
    lines = (line.split(None, 5) for line in maps.splitlines() if line.endswith(_DELETED))
    return {int(fields[4]) for fields in lines if fields[3] == name}


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""
