"""The zygote's heap as a file in memory that nobody can write to, mapped so that each process has its own changes.

Of ordinary memory a fork copies the table of every page, and the end of the child takes each apart again: for the heap
with the libraries 20,000. Of a mapped file it copies only what the parent itself has used since; the rest a child maps
when it needs it, sixteen pages at a time.
"""

from __future__ import annotations

import bisect
import ctypes
import fcntl
import functools
import gc
import mmap
import os
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from ..linux import syscalls
from . import call_chain
from .mappings import Mapping, mappings

_HUGE: Final = 2 << 20
_PAGE: Final = mmap.PAGESIZE
#: allocators of others than Python and the C library take more than this at a time, and count on zeros where they had
#: given memory back; a smaller gap between objects can hold none of theirs (bytes)
_GAP: Final = 1 << 20
#: half of what the kernel writes in a call at most (bytes)
_MOST: Final = 1 << 30
_MAP_FIXED: Final = 0x10
#: how the GNU C library marks what it mapped for one allocation, and the bits that hold its marks
_MAPPED: Final = 2
_MARKS: Final = 15
#: where in a page the head of such an allocation may be: its memory, 16 bytes further on, is aligned to a power of two
_HEADS: Final = tuple((16 << power) - 16 for power in range(_PAGE.bit_length() - 4))
#: the C library maps every allocation of more than 32 MiB (bytes)
_ALWAYS_MAPPED: Final = 33 << 20
_FAILED: Final = ctypes.c_void_p(-1).value
_MADV_COLLAPSE: Final = 25
_SEALS: Final = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
_RIGHTS: Final = mmap.PROT_READ | mmap.PROT_WRITE
NAME: Final = "/memfd:zygote"
_mmap: Final = syscalls.libc.mmap
_mmap.restype = ctypes.c_void_p

#: what may be allocated between two looks at the heap (bytes)
_SLACK: Final = 2 * _HUGE

#: start and end
Area = tuple[int, int]


def objects() -> list[int]:
    """Addresses of pages with objects that the garbage collector knows; none of those that are frozen."""
    return sorted({id(one) // _PAGE * _PAGE for one in gc.get_objects()})


def move(pages: Sequence[int]) -> bool:
    """Move the heap, if that can be done here; tried in a fork first, because there is no way back.

    Args:
        pages: from :func:`objects`.

    Returns:
        whether it was moved

    Raises:
        OSError: it was, and the file could not be closed to others.
    """
    threads = len(os.listdir("/proc/self/task"))  # noqa: PTH208
    own_allocator = sysconfig.get_config_var("Py_GIL_DISABLED")  # one that counts on zeros, too
    if threads > 1 or own_allocator or not call_chain.possible() or _uncounted() is None:
        return False
    areas = _areas(pages)
    if _size(areas) > _MOST:
        return False
    try:
        file = os.memfd_create(NAME.partition(":")[2], os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    except OSError:
        return False
    try:
        try:
            _allocate(file, _size(areas) + _SLACK)
        except OSError:
            return False  # there is not so much memory
        if not _survives(file, min(areas, key=lambda area: area[1] - area[0])):
            return False
        size = _exchange(file, _areas(pages))
        os.ftruncate(file, -(-size // _HUGE) * _HUGE)
        os.fchmod(file, 0)  # else everybody might do what only those may who could write to it
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, _SEALS)
        return size > 0
    finally:
        os.close(file)


def mapped(process: int | str = "self") -> list[Mapping]:
    """Where a process, by default this one, has the file.

    Raises:
        OSError: it is gone, or not ours to read.
    """
    return [mapping for mapping in mappings(process) if mapping.file.startswith(NAME)]


def _survives(file: int, area: Area) -> bool:
    """Whether a fork of this process that does it with one area lives on."""
    pid = os.fork()
    if pid == 0:
        try:
            _exchange(file, [area])
            os._exit(0 if [(one.start, one.end) for one in mapped()] == [area] else 2)
        finally:
            os._exit(1)
    return os.waitpid(pid, 0)[1] == 0


def _areas(pages: Sequence[int]) -> list[Area]:
    """The heap of the C library, and the parts of other memory where objects lie close together."""
    found: list[Area] = []
    clusters = list(_clusters(pages))
    for mapping in mappings():
        if mapping.rights != "rw-p":
            continue
        at = bisect.bisect_left(pages, mapping.start)
        if mapping.file == "[heap]":
            found.append((mapping.start, mapping.end))
        elif at == len(pages) or pages[at] >= mapping.end:
            continue  # somebody else's, who may have told the kernel to wipe it in a fork
        elif not mapping.file or mapping.file.startswith("[anon:"):
            for start, end in clusters:
                if start < mapping.end and end > mapping.start:
                    first = mapping.start if start - mapping.start < _GAP else start
                    found += _without_chunks(first, mapping.end if mapping.end - end < _GAP else end)
    return found


def _without_chunks(start: int, end: int) -> Iterator[Area]:
    """The parts of an area that the C library did not map for a single large allocation.

    It grows those by growing the mapping, which for a file would go on with what follows in the file. The head of such
    an allocation holds the distance to the start of its mapping, and the size up to the end of its mapping. The lowest
    bit of the distance tells of huge pages; the lowest bits of the size hold the mark.
    """
    uncounted = _uncounted() or 0
    page = start
    while page < end:
        words = (ctypes.c_size_t * (_PAGE // 8)).from_address(page)
        for head in _HEADS:
            distance, size = words[head // 8] & ~1, words[head // 8 + 1]
            first, after = page + head - distance, page + head + size - _MAPPED + uncounted
            whole = first % _PAGE == after % _PAGE == 0 and start <= first and page < after <= end
            if size & _MARKS == _MAPPED and whole:
                if start < first:
                    yield start, first
                start = page = after
                break
        else:
            page += _PAGE
    if start < end:
        yield start, end


@functools.cache
def _uncounted() -> int | None:
    """Bytes at the end of a mapped allocation that its size leaves out: 0 before version 2.43 of the GNU C library.

    Returns:
        None if the C library marks its allocations in a way that is not known here.
    """
    malloc, free = syscalls.libc.malloc, syscalls.libc.free
    malloc.restype = ctypes.c_void_p
    memory = malloc(ctypes.c_size_t(_ALWAYS_MAPPED))
    if memory is None:
        return None
    distance, size = (ctypes.c_size_t * 2).from_address(memory - 16)
    free(ctypes.c_void_p(memory))
    rest = -(memory - 16 + size - _MAPPED) % _PAGE
    known = size & _MARKS == _MAPPED and distance & ~1 == memory % _PAGE - 16 and rest in (0, 16)
    return rest if known else None


def _clusters(pages: Sequence[int]) -> Iterator[Area]:
    start = last = pages[0]
    for page in pages:
        if page - last > _GAP:
            yield start, last + _PAGE
            start = page
        last = page
    yield start, last + _PAGE


def _size(areas: Iterable[Area]) -> int:
    return sum(end - start for start, end in areas)


def _exchange(file: int, areas: Sequence[Area]) -> int:
    """Write the areas to the file and map it in their place, before anything in them can change.

    Returns:
        bytes moved; 0 if the file has no room for them
    """
    writes: list[call_chain.Call] = []
    maps: list[call_chain.Call] = []
    size = 0
    for start, end in areas:
        writes.append((syscalls.libc.pwrite, (file, start, end - start, size)))
        maps.append((_mmap, (start, end - start, _RIGHTS, mmap.MAP_PRIVATE | _MAP_FIXED, file, size)))
        size += end - start
    if size > os.fstat(file).st_size:
        return 0
    call_chain.call([*writes, *maps])
    return size


def _allocate(file: int, size: int) -> None:
    """Give the file its memory, in huge pages where the kernel can, so that nothing can be lacking later.

    Raises:
        OSError: there is not so much.
    """
    size = -(-size // _HUGE) * _HUGE
    os.ftruncate(file, size)
    # a huge page takes the place of ordinary ones, of one at least
    for offset in range(0, size, _HUGE):
        os.pwrite(file, b"\0", offset)
    # and wants to see the file mapped at an address that is a multiple of its size
    room = _mmap(None, ctypes.c_size_t(size + _HUGE), 0, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, ctypes.c_long(0))
    if room != _FAILED:
        start, length = ctypes.c_void_p(-(-room // _HUGE) * _HUGE), ctypes.c_size_t(size)
        _mmap(start, length, mmap.PROT_READ, mmap.MAP_SHARED | _MAP_FIXED, file, ctypes.c_long(0))
        syscalls.libc.madvise(start, length, _MADV_COLLAPSE)
        syscalls.libc.munmap(ctypes.c_void_p(room), ctypes.c_size_t(size + _HUGE))
    os.posix_fallocate(file, 0, size)
