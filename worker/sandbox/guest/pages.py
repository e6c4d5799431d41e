"""Which of the zygote's pages a cell touches, learned once, and given to each standby in a few calls.

A forked process shares its parent's pages until it touches them, and then pays for each with a fault of its own, a few
thousand for the simplest cell. A scout, forked and thrown away, runs typical cells and reads from its page map what it
had to copy or map; a standby asks the kernel for just these pages in advance.
"""

from __future__ import annotations

import ctypes
import json
import os
from array import array
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from . import linux

#: start and length in bytes
Range = tuple[int, int]

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_POPULATE_READ: Final = 22
_POPULATE_WRITE: Final = 23
#: pages between two ranges that are taken along, because a call costs as much
_GAP: Final = 1
#: calls between two looks whether it is enough
_STEPS: Final = 32
_PRESENT: Final = 1 << 63
_FILE: Final = 1 << 61
_EXCLUSIVE: Final = 1 << 56


class Pages:
    """What a standby asks for."""

    def __init__(self, copied: Iterable[Range] = (), mapped: Iterable[Range] = ()) -> None:
        steps = [(start, length, _POPULATE_WRITE) for start, length in copied]
        steps += [(start, length, _POPULATE_READ) for start, length in mapped]
        self._calls = [(ctypes.c_void_p(start), ctypes.c_size_t(length), advice) for start, length, advice in steps]

    @classmethod
    def learn(cls, cells: Callable[[], object]) -> Pages:
        """What ``cells`` touch, run in a fork of this process; nothing where the kernel does not tell.

        Args:
            cells: runs typical cells, with nobody listening.
        """
        near, far = os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            try:
                areas = list(_areas())
                cells()
                os.write(far, json.dumps(_touched(areas)).encode())
            finally:
                os._exit(0)
        os.close(far)
        with os.fdopen(near, "rb") as pipe:
            told = pipe.read()
        os.waitpid(pid, 0)
        return cls(*json.loads(told)) if told else cls()

    def take(self, enough: Callable[[], object] = lambda: False) -> None:
        """Copy and map them now; what is refused is taken later, page by page, as without this.

        Args:
            enough: asked now and then; true ends it early.
        """
        for number, call in enumerate(self._calls):
            if number % _STEPS == 0 and enough():
                return
            linux.libc.madvise(*call)


def _areas() -> Iterator[tuple[int, int, bool]]:
    """Start, end, and whether private and writable, of every mapping that has pages."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        addresses, rights, *_ = line.split(None, 2)
        start, end = (int(part, 16) for part in addresses.split("-"))
        if rights[0] == "r" and rights[3] == "p" and start < 1 << 47:
            yield start, end, rights[1] == "w"


def _touched(areas: Iterable[tuple[int, int, bool]]) -> tuple[list[Range], list[Range]]:
    copied: list[Range] = []
    mapped: list[Range] = []
    with open("/proc/self/pagemap", "rb", buffering=0) as file:  # noqa: PTH123 - unbuffered and sought in
        for start, end, writable in areas:
            file.seek(start // _PAGE * 8)
            entries = array("Q", file.read((end - start) // _PAGE * 8))
            if writable:
                copied += _ranges(start, [bool(e & _PRESENT and e & _EXCLUSIVE and not e & _FILE) for e in entries])
            mapped += _ranges(start, [bool(e & _PRESENT and e & _FILE) for e in entries])
    return copied, mapped


def _ranges(base: int, wanted: list[bool]) -> Iterator[Range]:
    start = last = -1
    for number, want in enumerate(wanted):
        if not want:
            continue
        if start >= 0 and number - last > _GAP:
            yield base + start * _PAGE, (last + 1 - start) * _PAGE
            start = -1
        if start < 0:
            start = number
        last = number
    if start >= 0:
        yield base + start * _PAGE, (last + 1 - start) * _PAGE
