"""Removing what a cell has left on a disk that it shared with others."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat


def remove_folder(path: str) -> None:
    """Remove a folder whose every process is dead, whatever modes and links it was left with."""
    with contextlib.suppress(OSError):  # launcher and init both remove it: the other may be faster
        for _, _, _, fd in os.fwalk(path, follow_symlinks=False):
            os.fchmod(fd, stat.S_IRWXU)
    # a folder that could not be entered before can be now
    for _ in range(64):
        shutil.rmtree(path, ignore_errors=True)
        if not os.path.lexists(path):
            return
        for folder, names, _ in os.walk(path, followlinks=False):
            for name in names:
                full = os.path.join(folder, name)  # noqa: PTH118 - str paths of any bytes
                if not os.path.islink(full):  # noqa: PTH114
                    with contextlib.suppress(OSError):
                        os.chmod(full, stat.S_IRWXU)  # noqa: PTH101
