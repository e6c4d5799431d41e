"""A store to test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support import PrivateServer

from codeexec_magic.settings import Settings
from codeexec_magic.store import JobStore


@pytest.fixture
def store(redis_server: PrivateServer) -> Iterator[JobStore]:
    """An empty store."""
    store = JobStore(redis_server.url, Settings(lease_s=0.3, result_ttl_s=60, cache_ttl_s=60))
    store.redis.flushall()
    yield store
    store.close()
