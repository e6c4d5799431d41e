"""Which of the zygote's pages a cell touches, learned once, and given to each standby at once.

A forked process shares its parent's pages until it touches them, and then pays for each with a fault of its own, a few
thousand for the simplest cell. A scout, forked and thrown away, lives like a cell and reads from its page map what it
had to copy or map. What every cell copies is pinned: pinned memory cannot be shared, so the kernel copies it with the
fork, at half the price of a fault. Where that is not allowed a standby asks for its copies itself, as it does for what
only many cells need: one call writes a byte of each page, the one that is there already.
"""

from __future__ import annotations

import ctypes
import json
import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import ClassVar, Final

from . import heapfile, image, linux

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
#: size of ``struct io_uring_params``
_RING_PARAMETERS: Final = 120
_PRESENT: Final = 1 << 63
_FILE: Final = 1 << 61
_EXCLUSIVE: Final = 1 << 56


class Pages:
    """What a standby needs of its own."""

    def __init__(self, copied: Sequence[int] = (), mapped: Iterable[Range] = (), heap: Iterable[Range] = ()) -> None:
        """Prepare the calls.

        Args:
            copied: addresses of the pages to be copied.
            mapped: parts of files to be mapped.
            heap: the same of the file that the heap is in.
        """
        self.copied = copied
        self._copies = _copies(copied)
        self._maps, self._heap = _maps(mapped), _maps(heap)

    @classmethod
    def learn(cls, live: Callable[[int], int], beside: Pages | None = None) -> Pages:
        """What a life like a cell's touches; nothing where the kernel does not tell.

        Args:
            live: lives it, in a fork of this process that then ends, and closes what it likes but one descriptor;
                returns the number by which that one is to be found at the end.
            beside: what is known already, and not wanted again.
        """
        near, far = os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            try:
                areas = _areas()
                far = live(far)
                os.write(far, json.dumps(_touched(areas)).encode())
            finally:
                os._exit(0)
        os.close(far)
        with os.fdopen(near, "rb") as pipe:
            told = pipe.read()
        os.waitpid(pid, 0)
        copied, mapped, heap = json.loads(told) if told else ((), (), ())
        known = set(beside.copied) if beside else set()
        return cls([page for page in copied if page not in known], mapped, heap)

    def inherit(self) -> None:
        """Let the forks of this process have as much of it as possible from the start, as long as it lives."""
        for part in self._heap:
            linux.libc.madvise(*part)
        try:
            # of the ring only its table of buffers is wanted: they are pinned. It stays open until this process ends
            ring = linux.syscall(linux.IO_URING_SETUP, 1, ctypes.create_string_buffer(_RING_PARAMETERS))
        except OSError:
            return
        buffers = (_Vector * len(self.copied))(*(_Vector(address, _PAGE) for address in self.copied))
        count = len(buffers)
        while count:
            try:
                linux.syscall(linux.IO_URING_REGISTER, ring, 0, buffers, count)
                break
            except OSError:
                count = count * 9 // 10  # more than this user may pin
        self._copies = _copies(self.copied[count:])

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


def _copies(pages: Sequence[int]) -> list[ctypes.Array[_Vector]]:
    parts = [pages[start : start + _AT_ONCE] for start in range(0, len(pages), _AT_ONCE)]
    return [(_Vector * len(part))(*(_Vector(address, 1) for address in part)) for part in parts]


def _maps(ranges: Iterable[Range]) -> list[tuple[ctypes.c_void_p, ctypes.c_size_t, int]]:
    return [(ctypes.c_void_p(start), ctypes.c_size_t(length), _POPULATE_READ) for start, length in ranges]


def _areas() -> list[image.Mapping]:
    """Every private mapping that has pages."""
    return [one for one in image.mappings() if one.rights[0] == "r" and one.rights[3] == "p" and one.start < 1 << 47]


def _touched(areas: Iterable[image.Mapping]) -> tuple[list[int], list[Range], list[Range]]:
    copied: list[int] = []
    mapped: list[Range] = []
    heap: list[Range] = []
    with open("/proc/self/pagemap", "rb", buffering=0) as file:  # noqa: PTH123 - unbuffered and sought in
        for area in areas:
            file.seek(area.start // _PAGE * 8)
            entries = array("Q", file.read((area.end - area.start) // _PAGE * 8))
            if "w" in area.rights:
                own = (bool(e & _PRESENT and e & _EXCLUSIVE and not e & _FILE) for e in entries)
                copied += [area.start + number * _PAGE for number, is_own in enumerate(own) if is_own]
            ranges = _ranges(area.start, [bool(e & _PRESENT and e & _FILE) for e in entries])
            (heap if area.file.startswith(heapfile.NAME) else mapped).extend(ranges)
    return copied, mapped, heap


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
