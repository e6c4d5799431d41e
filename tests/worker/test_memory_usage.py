"""What a worker says of itself to monitors, and the history it keeps."""

from __future__ import annotations

import os
import subprocess
import sys

import psutil
import pytest
from support import PrivateServer

from codeexec_magic.settings import Settings
from codeexec_magic.store import JobStore
from codeexec_magic.store.monitor import Query, read
from worker.memory_usage import MemoryUsage, memory_mb, together_mb
from worker.sampler import Sampler
from worker.sandbox import Sandbox


def test_memory_counts_children() -> None:
    """The memory of a tree includes what its children hold."""
    alone = memory_mb(os.getpid())
    assert alone > 5
    code = "import sys; held = bytearray(b'x' * (64 << 20)); print('held', flush=True); sys.stdin.read()"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        assert memory_mb(os.getpid()) > alone + 50
    finally:
        child.communicate()
    assert memory_mb(child.pid) == 0.0


def test_the_heap_of_the_sandboxes_counts_once_and_whole() -> None:
    """The file that the zygote's heap is in is part of the memory, also as far as nobody has it mapped."""
    with Sandbox(slots=1, probe=False) as sandbox:
        pids = [sandbox.pid, *(one.pid for one in psutil.Process(sandbox.pid).children(recursive=True))]
        shares = sum(psutil.Process(pid).memory_full_info().pss for pid in pids) / 2**20
        if sandbox.report["fast_fork"] is not True:
            pytest.skip("the heap is not in a file here")
        assert shares + 20 < together_mb(pids) < shares + 120


def test_starts_are_totals() -> None:
    """Starts and their time add up."""
    footprint = MemoryUsage()
    for milliseconds in (0.25, 0.5):
        footprint.started(milliseconds)
    fields = footprint.fields()
    assert (fields["sandbox_starts"], fields["sandbox_start_ms"]) == (2, pytest.approx(0.75))
    assert float(str(fields["memory_mb"])) > 5


def test_workers_share_one_history(redis_server: PrivateServer) -> None:
    """Several samplers leave one sample a period, and readers find it."""
    store = JobStore(redis_server.url, Settings())
    store.redis.flushall()
    for _ in range(3):
        Sampler(store).step()
    samples = read(store, Query(samples=10)).samples
    store.close()
    assert len(samples) == 1
    assert set(samples[0].queues) == {"code_execution", "code_execution_heavy"}
