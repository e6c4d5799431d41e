"""Fixtures that several test modules use."""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# importlib mode puts no test folder on the path, and the helpers live beside this file
sys.path.insert(0, str(Path(__file__).parent))

from live_cluster import LiveCluster
from support import PrivateServer, private_server
from watchdog import Watchdog

# a shell that starts us in the background has us ignore it, and every process we start would too
signal.signal(signal.SIGINT, signal.default_int_handler)

# how long an example takes says more about the machine than about the code
settings.register_profile("codeexec", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("codeexec")

_WATCHDOG = pytest.StashKey[Watchdog]()


def pytest_configure(config: pytest.Config) -> None:
    """Have what this run starts ended with it, whatever ends it."""
    config.stash[_WATCHDOG] = Watchdog()


def pytest_unconfigure(config: pytest.Config) -> None:
    """The run ended by itself."""
    config.stash[_WATCHDOG].finish()


@pytest.fixture
def short_tmp() -> Iterator[Path]:
    """A private folder with a path short enough for unix sockets, which pytest's own often is not."""
    directory = Path(tempfile.mkdtemp(prefix="cx-"))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[PrivateServer]:
    """One private server for the whole run; tests that write to it flush it first."""
    directory = Path(tempfile.mkdtemp(prefix="cx-"))
    server = private_server(directory)
    yield server
    server.stop()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def cluster() -> Iterator[LiveCluster]:
    """Shared by all tests that run cells through a notebook; one that stops the worker starts it again."""
    directory = Path(tempfile.mkdtemp(prefix="cx-"))
    cluster = LiveCluster(directory, private_server(directory))
    try:
        cluster.start_worker()
        yield cluster
    finally:
        cluster.close()
        shutil.rmtree(directory, ignore_errors=True)
