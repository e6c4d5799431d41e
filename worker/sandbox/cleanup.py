"""What a launcher that was killed leaves behind, and its end."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Final

from .linux import cgroup, disk
from .linux.rmtree import remove_folder

#: how long the runs have to notice by themselves that their launcher is gone (seconds)
_PATIENCE_S: Final = 0.3
#: when it is given up (seconds)
_END_S: Final = 5.0


def clear(mark: str) -> bool:
    """Remove what the dead launcher of this mark has left: its runs' processes, control groups and folders.

    Normally the processes end by themselves, when their connection to it does, and those without namespaces remove
    their folders; this waits for that, and helps when it takes long.

    Returns:
        whether nothing is left
    """
    start = time.monotonic()
    while groups := [folder for folder in cgroup.folders(mark) if not _removed(folder)]:
        waited = time.monotonic() - start
        if waited > _END_S:
            break
        if waited > _PATIENCE_S:
            for folder in groups:
                _kill(folder)
        time.sleep(0.01)
    while (homes := _homes(mark)) and time.monotonic() - start < _END_S:
        if time.monotonic() - start > _PATIENCE_S:
            for home in homes:
                remove_folder(str(home))
        time.sleep(0.01)
    return not groups and not homes


def _homes(mark: str) -> list[Path]:
    return [path for folder in disk.FOLDERS for path in Path(folder).glob(f"codeexec-{mark}-*")]


def _removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        pass
    except OSError:
        return False
    return True


def _kill(folder: Path) -> None:
    with contextlib.suppress(OSError):
        for pid in (folder / "cgroup.procs").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
