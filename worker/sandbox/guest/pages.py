"""Which of the zygote's pages a cell touches, learned once, and given to each standby in a few calls.

A forked process shares its parent's pages until it touches them, and then pays for each with a fault of its own, a few
thousand for the simplest cell. A scout, forked and thrown away, runs typical cells and reads from its page map what it
had to copy or map; a standby asks the kernel for just these pages in advance. What it must copy lies scattered, a page
here and there: one call writes a byte of each, the one that is there already, which costs half of a fault or of an
madvise for each.
"""

from __future__ import annotations

import ctypes
import json
import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import ClassVar, Final

from . import image, linux

#: start and length in bytes
Range = tuple[int, int]


class _Vector(ctypes.Structure):
    """As ``struct iovec``."""

    _fields_: ClassVar = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_POPULATE_READ: Final = 22
#: pages between two ranges that are mapped along, because a call costs as much
_GAP: Final = 1
#: pages copied in a call, after which comes a look whether it is enough; the kernel's own limit is 1024
_AT_ONCE: Final = 256
_PRESENT: Final = 1 << 63
_FILE: Final = 1 << 61
_EXCLUSIVE: Final = 1 << 56


class Pages:
    """What a standby asks for."""

    def __init__(self, copied: Sequence[int] = (), mapped: Iterable[Range] = ()) -> None:
        """Prepare the calls.

        Args:
            copied: addresses of the pages to be copied.
            mapped: parts of files to be mapped.
        """
        parts = [copied[start : start + _AT_ONCE] for start in range(0, len(copied), _AT_ONCE)]
        self._copies = [(_Vector * len(part))(*(_Vector(address, 1) for address in part)) for part in parts]
        self._maps = [(ctypes.c_void_p(start), ctypes.c_size_t(length), _POPULATE_READ) for start, length in mapped]

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
        own = os.getpid()
        for vector in self._copies:
            if enough():
                return
            count = ctypes.c_ulong(len(vector))
            linux.libc.process_vm_writev(own, vector, count, vector, count, ctypes.c_ulong(0))
        for part in self._maps:
            linux.libc.madvise(*part)


def _areas() -> Iterator[tuple[int, int, bool]]:
    """Start, end, and whether private and writable, of every mapping that has pages."""
    for mapping in image.mappings():
        if mapping.rights[0] == "r" and mapping.rights[3] == "p" and mapping.start < 1 << 47:
            yield mapping.start, mapping.end, mapping.rights[1] == "w"


def _touched(areas: Iterable[tuple[int, int, bool]]) -> tuple[list[int], list[Range]]:
    copied: list[int] = []
    mapped: list[Range] = []
    with open("/proc/self/pagemap", "rb", buffering=0) as file:  # noqa: PTH123 - unbuffered and sought in
        for start, end, writable in areas:
            file.seek(start // _PAGE * 8)
            entries = array("Q", file.read((end - start) // _PAGE * 8))
            if writable:
                own = (bool(e & _PRESENT and e & _EXCLUSIVE and not e & _FILE) for e in entries)
                copied += [start + number * _PAGE for number, is_own in enumerate(own) if is_own]
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
