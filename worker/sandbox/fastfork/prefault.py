"""Which of the zygote's pages a cell touches, learned once, and given to each standby at once.

A forked process shares its parent's pages until it touches them, and then pays for each with a fault of its own, a few
thousand for the simplest cell. A profile, forked and thrown away, lives like a cell and reads from its page map what it
had to copy or map. What every cell copies is pinned: pinned memory cannot be shared, so the kernel copies it with the
fork, at half the price of a fault. Where that is not allowed a standby asks for its copies itself, as it does for what
only many cells need: one call writes a byte of each page, the one that is there already. Likewise one call reads a byte
of what is to be mapped from files; with a page the kernel maps those around it.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar, Final

from ..linux import syscalls
from . import memory_layout


class _Vector(ctypes.Structure):
    """As ``struct iovec``."""

    _fields_: ClassVar = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
#: bytes that the page map has for each
_ENTRY: Final = 8
#: what the kernel maps of a file when one page of it is read, if it has the others (pages)
_AROUND: Final = 16
#: pages in a call, after which comes a look whether it is enough; the kernel's own limit is 1024
_AT_ONCE: Final = 256
#: size of ``struct io_uring_params``
_RING_PARAMETERS: Final = 120
_REGISTER_BUFFERS: Final = 0
_UNREGISTER_BUFFERS: Final = 1
#: of what a user may pin so much is left to his other programs (bytes)
_SPARE: Final = 1 << 20
#: above it lies what the kernel shows to everybody
_USER_END: Final = 1 << 47
_PRESENT: Final = 1 << 63
_FILE: Final = 1 << 61
_EXCLUSIVE: Final = 1 << 56


class Pages:
    """What a standby needs of its own."""

    def __init__(self, copied: Sequence[int] = (), mapped: Sequence[int] = ()) -> None:
        """Prepare the calls.

        Args:
            copied: addresses of pages to be copied.
            mapped: addresses of pages of files to be mapped.
        """
        self._copied, self._copies, self._maps = copied, _vectors(copied), _vectors(mapped)
        self._byte = ctypes.create_string_buffer(1)  #: what is read goes here

    def map(self, pages: Sequence[int]) -> None:
        """Choose what is to be mapped.

        Args:
            pages: addresses of pages of files.
        """
        self._maps = _vectors(pages)

    def inherit(self) -> None:
        """Let the forks of this process have the copies from the start, as long as it lives and as far as allowed."""
        try:
            # of the ring only its table of buffers is wanted: they are pinned. It stays open until this process ends
            ring = syscalls.syscall(syscalls.IO_URING_SETUP, 1, ctypes.create_string_buffer(_RING_PARAMETERS))
        except OSError:
            return
        count = len(self._copied)
        with mmap.mmap(-1, _SPARE) as room:
            spare = _Vector(ctypes.addressof(ctypes.c_char.from_buffer(room)), _SPARE)
            while count and not _pin(ring, [spare, *(_Vector(page, _PAGE) for page in self._copied[:count])]):
                count = count * 9 // 10  # more than this user may pin
            if count:
                syscalls.syscall(syscalls.IO_URING_REGISTER, ring, _UNREGISTER_BUFFERS, None, 0)
                count *= _pin(ring, [_Vector(page, _PAGE) for page in self._copied[:count]])
        self._copies = _vectors(self._copied[count:])

    def take(self, enough: Callable[[], object] = lambda: False) -> None:
        """Copy and map them now; what is refused is taken later, page by page, as without this.

        Args:
            enough: asked now and then; true ends it early.
        """
        own, none = os.getpid(), ctypes.c_ulong(0)
        for pages in self._copies:
            if enough():
                return
            count = ctypes.c_ulong(len(pages))
            syscalls.libc.process_vm_writev(own, pages, count, pages, count, none)
        for pages in self._maps:
            if enough():
                return
            into = (_Vector * len(pages))(*[_Vector(ctypes.addressof(self._byte), 1)] * len(pages))
            count = ctypes.c_ulong(len(pages))
            syscalls.libc.process_vm_readv(own, into, count, pages, count, none)


def learn(live: Callable[[int], int]) -> tuple[list[int], list[int]]:
    """What a life like a cell's touches; nothing where the kernel does not tell.

    Args:
        live: lives it, in a fork of this process that then ends, and closes what it likes but one descriptor; returns
            the number by which that one is to be found at the end.

    Returns:
        addresses of the pages that are its own in the end, and of pages of files that it had to map
    """
    near, far = os.pipe2(os.O_CLOEXEC)
    areas = [one for one in memory_layout.mappings() if one.rights[3] == "p" and one.start < _USER_END]
    before, after = _PageMap(areas), _PageMap(areas)
    pid = os.fork()
    if pid == 0:
        try:
            before.read()
            far = live(far)
            after.read()
            os.write(far, json.dumps(_new(before, after)).encode())
        finally:
            os._exit(0)
    os.close(far)
    with os.fdopen(near, "rb") as pipe:
        told = pipe.read()
    os.waitpid(pid, 0)
    copied, mapped = json.loads(told) if told else ([], [])
    return copied, mapped


def _pin(ring: int, buffers: Sequence[_Vector]) -> bool:
    try:
        count = len(buffers)
        syscalls.syscall(syscalls.IO_URING_REGISTER, ring, _REGISTER_BUFFERS, (_Vector * count)(*buffers), count)
    except OSError:
        return False
    return True


def _vectors(pages: Sequence[int]) -> list[ctypes.Array[_Vector]]:
    parts = [pages[start : start + _AT_ONCE] for start in range(0, len(pages), _AT_ONCE)]
    return [(_Vector * len(part))(*(_Vector(address, 1) for address in part)) for part in parts]


class _PageMap:
    """What the kernel says of each page of some areas."""

    def __init__(self, areas: Sequence[memory_layout.Mapping]) -> None:
        self._areas = areas
        # in a mapping of its own, which is in none of the areas, so that reading leaves no traces in them
        self._entries = mmap.mmap(-1, sum(area.end - area.start for area in areas) // _PAGE * _ENTRY)

    def read(self) -> None:
        """Look, in the calling process."""
        view, at = memoryview(self._entries), 0
        file = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
        for area in self._areas:
            size = (area.end - area.start) // _PAGE * _ENTRY
            os.preadv(file, [view[at : at + size]], area.start // _PAGE * _ENTRY)
            at += size
        os.close(file)

    def of_areas(self) -> Iterator[tuple[memory_layout.Mapping, memoryview]]:
        """Each area with the entries of its pages."""
        view, at = memoryview(self._entries).cast("Q"), 0
        for area in self._areas:
            count = (area.end - area.start) // _PAGE
            yield area, view[at : at + count]
            at += count


def _new(before: _PageMap, after: _PageMap) -> tuple[list[int], list[int]]:
    copied: list[int] = []
    mapped: dict[int, int] = {}
    for (area, then), (_, now) in zip(before.of_areas(), after.of_areas(), strict=True):
        for number, entry in enumerate(now):
            if entry < _PRESENT:
                continue  # its bit is the highest
            page = area.start + number * _PAGE
            if entry & _FILE:
                if then[number] < _PRESENT:
                    mapped.setdefault(page // _PAGE // _AROUND, page)
            elif entry & _EXCLUSIVE and area.rights[1] == "w":
                copied.append(page)
    return copied, list(mapped.values())
