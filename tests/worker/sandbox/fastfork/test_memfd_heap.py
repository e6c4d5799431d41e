"""The zygote's heap as a file: in a process of its own, because there is no way back."""

from __future__ import annotations

import pytest
from support import in_fresh_interpreter


@pytest.fixture(autouse=True)
def _possible() -> None:
    if not in_fresh_interpreter("print(json.dumps(call_chain.possible()))"):
        pytest.skip("this C library has no makecontext")


def test_objects_survive_the_move_and_forks_have_their_own() -> None:
    """Everything reads the same after it, what a fork changes stays its own, and the file takes no more writes."""
    code = """
big = {number: [str(number), (number, float(number))] for number in range(200_000)}
before = hash(tuple((key, value[0], value[1]) for key, value in big.items()))
moved = memfd_heap.move(memfd_heap.objects())
same = before == hash(tuple((key, value[0], value[1]) for key, value in big.items()))
pid = os.fork()
if pid == 0:
    big[7][0] = "changed"
    big.update({-number: [number] for number in range(1, 50_000)})
    gc.collect()
    os._exit(0 if big[7][0] == "changed" and len(big) == 249_999 else 1)
fork = os.waitpid(pid, 0)[1]
more = [object() for _ in range(100_000)]
del big[8]
gc.collect()
sizes = [one.end - one.start for one in mappings.mappings() if one.file.startswith(memfd_heap.NAME)]
shared = [one.rights for one in mappings.mappings() if one.file.startswith(memfd_heap.NAME)]
print(json.dumps([moved, same, fork, big[7][0], sum(sizes), sorted(set(shared))]))
"""
    moved, same, fork, kept, size, rights = in_fresh_interpreter(code)
    assert moved
    assert same
    assert fork == 0
    assert kept == "7"
    assert size > 20 << 20  # most of what the objects take
    assert rights == ["rw-p"]


def test_the_file_cannot_be_written_to() -> None:
    """Whoever should get hold of the file itself finds it sealed."""
    code = """
found = []
make = os.memfd_create
os.memfd_create = lambda *args: found.append(make(*args)) or os.dup(found[0])
moved = memfd_heap.move(memfd_heap.objects())
try:
    os.pwrite(found[0], b"x", 0)
    refused = False
except PermissionError:
    refused = True
print(json.dumps([moved, refused]))
"""
    assert in_fresh_interpreter(code) == [True, True]


def test_a_process_with_threads_is_left_as_it_is() -> None:
    """Another thread could write to the heap while it is exchanged."""
    code = """
import threading
hold = threading.Event()
thread = threading.Thread(target=hold.wait)
thread.start()
moved = memfd_heap.move(memfd_heap.objects())
hold.set()
print(json.dumps([moved, [one.file for one in mappings.mappings() if one.file.startswith(memfd_heap.NAME)]]))
"""
    assert in_fresh_interpreter(code) == [False, []]


def test_what_does_not_survive_in_a_fork_is_not_done() -> None:
    """Where the exchange fails, the process that was to be spared goes on with the heap it had."""
    code = """
exchange = memfd_heap._exchange
def broken(file, areas):
    os.kill(os.getpid(), 11)
memfd_heap._exchange = broken
moved = memfd_heap.move(memfd_heap.objects())
print(json.dumps([moved, [one.file for one in mappings.mappings() if one.file.startswith(memfd_heap.NAME)]]))
"""
    assert in_fresh_interpreter(code) == [False, []]


def test_objects_far_apart_are_moved_without_what_lies_between() -> None:
    """Between objects that are more than a mebibyte apart may lie another allocator's memory."""
    code = """
page = memfd_heap._PAGE
found = list(memfd_heap._clusters([0x10000, 0x10000 + page, 0x10000 + memfd_heap._GAP * 3]))
print(json.dumps(found))
"""
    page, gap = 4096, 1 << 20
    assert in_fresh_interpreter(code) == [[0x10000, 0x10000 + 2 * page], [0x10000 + 3 * gap, 0x10000 + 3 * gap + page]]


def test_what_the_c_library_mapped_for_one_allocation_stays_ordinary_memory() -> None:
    """It grows by growing its mapping: in a file that would show what follows, and beyond its end nothing at all."""
    code = """
libc = syscalls.libc
for name in ("malloc", "aligned_alloc", "realloc"):
    getattr(libc, name).restype = ctypes.c_void_p
mapped = lambda block: ctypes.c_size_t.from_address(block - 8).value & 15 == 2
held, blocks = [], []
for _ in range(30):
    blocks.append(libc.malloc(ctypes.c_size_t(200 << 10)))
    for alignment in (32, 64, 4096, 65536):
        blocks.append(libc.aligned_alloc(ctypes.c_size_t(alignment), ctypes.c_size_t(256 << 10)))
    held.append([[number] for number in range(30_000)])
moved = memfd_heap.move(memfd_heap.objects())
files = [one for one in mappings.mappings() if one.file.startswith(memfd_heap.NAME)]
inside = [hex(block) for block in blocks if mapped(block) and any(one.start <= block < one.end for one in files)]
marked = any(mapped(block) for block in blocks)
for block in blocks:
    grown = libc.realloc(ctypes.c_void_p(block), ctypes.c_size_t(1 << 20))
    ctypes.memset(grown, 7, 1 << 20)
print(json.dumps([moved, len(files) > 1, marked, inside]))
"""
    moved, several, marked, inside = in_fresh_interpreter(code)
    assert moved
    assert several
    assert marked
    assert inside == []
