"""Which users of the host the cells of one launcher run as, when the launcher is root."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from ..linux import namespaces

#: far above any real account; process ids are below 2**22, so every launcher has a range of its own
_BASE: Final = 0x70000000
_PER_LAUNCHER: Final = 64


def uid_range() -> tuple[int, int]:
    """First outer user and how many, out of what this user namespace has."""
    ranges = [[int(field) for field in line.split()] for line in Path("/proc/self/uid_map").read_text().splitlines()]
    base = _BASE + (os.getpid() % (1 << 22)) * _PER_LAUNCHER
    for inside, _, count in ranges:
        if inside <= base and base + _PER_LAUNCHER <= inside + count:
            return base, _PER_LAUNCHER
    # a container with few users: share its upper half among launchers as well as it goes
    inside, _, count = max(ranges, key=lambda item: item[2])
    size = min(_PER_LAUNCHER, max(1, count // 4))
    places = max(1, count // 2 // size)
    return inside + count // 2 + (os.getpid() % places) * size, size


def write_maps(pid: int) -> bool:
    """Give a process that has just entered a user namespace this launcher's range of users and groups."""
    base, count = uid_range()
    try:
        for name in ("gid_map", "uid_map"):
            fd = os.open(f"/proc/{pid}/{name}", os.O_WRONLY)
            try:
                os.write(fd, f"{namespaces.INSIDE_UID} {base} {count}\n".encode())
            finally:
                os.close(fd)
    except OSError:
        return False
    return True
