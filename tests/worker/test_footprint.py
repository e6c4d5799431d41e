"""What a worker says of itself to monitors, and the history it keeps."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from support import PrivateServer

from codeexec_magic.settings import Settings
from codeexec_magic.store import JobStore
from codeexec_magic.store.monitor import Query, read
from worker.footprint import Footprint, memory_mb
from worker.sampler import Sampler


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


def test_starts_are_totals() -> None:
    """Starts and their time add up."""
    footprint = Footprint()
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
