"""The memory of a process that is forked again and again, put in order so that a fork, and its end, cost less.

Each step is a matter of speed only: what the kernel refuses is left as it was.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

from ..linux import syscalls

_PROT: Final = {"r": 1, "w": 2, "x": 4}
#: CPython's small objects: sizes come in steps of 16 bytes up to 512, blocks of one size from pools of 16 KiB
_STEP, _SMALL, _POOL = 16, 512, 16 << 10
#: blocks of one size in a row, without a gap, that only a pool which was empty gives; as parts of a pool
_ROW: Final = 3 / 4
_MOST: Final = 1 << 16


class Mapping(NamedTuple):
    """One part of an address space."""

    start: int
    end: int
    rights: str
    offset: int
    file: str


def fill_holes() -> list[bytes]:
    """Use up the free blocks between old objects, so that new ones lie together and not each on a page of its own.

    Returns:
        what fills them, to be kept; about 1 MB
    """
    filling = []
    for size in range(3 * _STEP, _SMALL + 1, _STEP):
        content, row, last = bytes(size - bytes.__basicsize__), 0, 0
        for _ in range(_MOST):
            block = bytes(bytearray(content))
            filling.append(block)
            row, last = (row + 1 if id(block) == last + size else 0), id(block)
            if row > _ROW * _POOL / size:
                break
    return filling


def merge_mappings() -> None:
    """Make one mapping of a library's read-only parts, and one of its written ones: a fork copies each mapping.

    The code of a library and its constants become executable alike, and tables that the loader had locked after use
    writable again. Nothing hostile runs in the zygote; a cell may map and write its memory as it likes anyway.
    """
    for rights in ("r-xp", "rw-p"):
        for group in _neighbours("w" in rights):
            if len(group) > 1 and any(part.rights == rights for part in group):
                length = group[-1].end - group[0].start
                prot = sum(_PROT[right] for right in rights if right in _PROT)
                syscalls.libc.mprotect(ctypes.c_void_p(group[0].start), ctypes.c_size_t(length), prot)


def _neighbours(written: bool) -> Iterator[list[Mapping]]:
    """Runs of mappings that show adjacent parts of one library: those before its first written one, or from there."""
    group: list[Mapping] = []
    found = mappings()
    for mapping, following in pairwise([*found, found[-1]]):
        readable = mapping.rights[0] == "r" and mapping.file.startswith("/")
        # constants that only the loader wrote to lie right before what anybody may write to
        near_written = "w" in mapping.rights or ("w" in following.rights and following.start == mapping.end)
        if group and (
            group[-1].end != mapping.start or group[-1].file != mapping.file or not _continues(group, mapping)
        ):
            yield group
            group = []
        if readable and near_written == written:
            group.append(mapping)
        elif group:
            yield group
            group = []
    yield group


def _continues(group: list[Mapping], mapping: Mapping) -> bool:
    return mapping.offset == group[-1].offset + group[-1].end - group[-1].start


def mappings(process: int | str = "self") -> list[Mapping]:
    """What a process's address space, by default this one's, consists of, in order.

    Raises:
        OSError: it is gone, or not ours to read.
    """
    found = []
    for line in Path(f"/proc/{process}/maps").read_text().splitlines():
        addresses, rights, offset, _, _, *name = line.split(None, 5)
        start, end = (int(part, 16) for part in addresses.split("-"))
        found.append(Mapping(start, end, rights, int(offset, 16), name[0] if name else ""))
    return found
