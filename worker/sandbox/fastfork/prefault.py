"""Which pages every cell writes to, learned once, so that a cell need not copy them one by one.

A forked process shares its parent's pages until it writes to them, and then pays for each with a fault of its own:
over two thousand for the simplest cell. A rehearsal, forked and thrown away, does what a cell does, and reads from
its page map what it had to copy. Those pages are pinned in the zygote: pinned memory cannot be shared, so the kernel
copies it with the fork, at half the price of a fault. Where pinning is not allowed each standby asks for its copies
itself, before it has code: one system call writes a byte of each page, the byte that is there already.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar, Final

from ..linux import syscalls
from .mappings import Mapping, mappings


class _Vector(ctypes.Structure):
    """As ``struct iovec``."""

    _fields_: ClassVar = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
#: bytes that the page map has for each page
_ENTRY: Final = 8
#: pages in a call; the kernel takes 1024 at most
_AT_ONCE: Final = 256
#: size of ``struct io_uring_params``
_RING_PARAMETERS: Final = 120
_REGISTER_BUFFERS: Final = 0
_UNREGISTER_BUFFERS: Final = 1
#: of what a user may pin, so much is left to his other programs (bytes)
_SPARE: Final = 1 << 20
#: above it lies what the kernel shows to everybody
_USER_END: Final = 1 << 47
_PRESENT: Final = 1 << 63
_FILE: Final = 1 << 61
_EXCLUSIVE: Final = 1 << 56


class Pages:
    """Pages of which each standby needs a copy of its own."""

    def __init__(self, addresses: Sequence[int] = ()) -> None:
        """Prepare the calls.

        Args:
            addresses: of the pages.
        """
        self._addresses, self._copies = addresses, _vectors(addresses)

    def pin(self) -> bool:
        """Let the forks of this process have the copies from the start, as long as it lives and as far as allowed.

        Returns:
            whether any are pinned
        """
        try:
            # of the ring only its table of buffers is wanted: they are pinned. It stays open until this process ends
            ring = syscalls.syscall(syscalls.IO_URING_SETUP, 1, ctypes.create_string_buffer(_RING_PARAMETERS))
        except OSError:
            return False
        count = len(self._addresses)
        with mmap.mmap(-1, _SPARE) as room:
            spare = _Vector(ctypes.addressof(ctypes.c_char.from_buffer(room)), _SPARE)
            while count and not _pin(ring, [spare, *(_Vector(page, _PAGE) for page in self._addresses[:count])]):
                count = count * 9 // 10  # more than this user may pin
            if count:
                syscalls.syscall(syscalls.IO_URING_REGISTER, ring, _UNREGISTER_BUFFERS, None, 0)
                count *= _pin(ring, [_Vector(page, _PAGE) for page in self._addresses[:count]])
        self._copies = _vectors(self._addresses[count:])
        return count > 0

    def copy(self) -> None:
        """Copy now what was not pinned; a page that the kernel refuses is copied when it is written to."""
        own, none = os.getpid(), ctypes.c_ulong(0)
        for pages in self._copies:
            count = ctypes.c_ulong(len(pages))
            syscalls.libc.process_vm_writev(own, pages, count, pages, count, none)


def learn(rehearse: Callable[[int], int]) -> list[int]:
    """Addresses of the pages that a process like a cell copies; none where the kernel does not tell.

    Args:
        rehearse: does what a cell does, in a fork of this process that then ends, and closes what it likes but one
            descriptor; returns the number under which that one is found at the end.
    """
    near, far = os.pipe2(os.O_CLOEXEC)
    areas = [area for area in mappings() if area.rights[3] == "p" and area.start < _USER_END]
    entries = _PageMap(areas)
    pid = os.fork()
    if pid == 0:
        try:
            far = rehearse(far)
            entries.read()
            os.write(far, json.dumps(entries.copied()).encode())
        finally:
            os._exit(0)
    os.close(far)
    with os.fdopen(near, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(pid, 0)
    return [int(page) for page in json.loads(answer)] if answer else []


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

    def __init__(self, areas: Sequence[Mapping]) -> None:
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

    def copied(self) -> list[int]:
        """Addresses of the pages that are this process's own."""
        return list(self._own_pages())

    def _own_pages(self) -> Iterator[int]:
        view, at = memoryview(self._entries).cast("Q"), 0
        for area in self._areas:
            count = (area.end - area.start) // _PAGE
            if area.rights[1] == "w":
                for number, entry in enumerate(view[at : at + count]):
                    if entry & _PRESENT and entry & _EXCLUSIVE and not entry & _FILE:
                        yield area.start + number * _PAGE
            at += count
