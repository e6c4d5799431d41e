"""One private cluster, one JupyterLab and one browser for all browser tests."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import PrivateServer, missing, private_server, wait_until

from codeexec_magic import Client

# importlib mode puts no test folder on the path, and the driver lives beside this file
sys.path.insert(0, str(Path(__file__).parent))

from lab import Lab, Notebook, chromium, window
from playwright.sync_api import Browser, sync_playwright


class Cluster:
    """A server, and a worker that can be started and stopped."""

    def __init__(self, directory: Path, server: PrivateServer) -> None:
        self.directory, self.server = directory, server
        self.client = Client(server.url)
        self._worker: subprocess.Popen[bytes] | None = None

    @property
    def env(self) -> dict[str, str]:
        """What makes a process use this cluster."""
        return {"CELERY_BROKER_URL": self.server.url, "CELERY_RESULT_BACKEND": self.server.backend_url}

    def start_worker(self) -> None:
        """Start the worker and wait until it listens."""
        if self._worker is not None:
            return
        with (self.directory / "worker.log").open("ab") as log:
            self._worker = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", "worker.app", "worker", "-Q", "code_execution", "-c", "2"],
                env={**os.environ, **self.env, "CODEEXEC_SLOTS": "2"},
                cwd=self.directory,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(self._listens, 60, "the worker")

    def stop_worker(self) -> None:
        """Stop it; the queue then has no listener."""
        if self._worker is not None:
            self._worker.send_signal(signal.SIGTERM)
            self._worker.wait(30)
            self._worker = None

    def freeze(self) -> None:
        """Let the worker stand still, as on a machine that swaps."""
        assert self._worker is not None
        os.killpg(self._worker.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._worker is not None
        os.killpg(self._worker.pid, signal.SIGCONT)

    def _listens(self) -> bool:
        assert self._worker is not None
        assert self._worker.poll() is None, (self.directory / "worker.log").read_text()
        return any(queue.listeners for queue in self.client.queues())


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Shared by all tests; a test that stops the worker starts it again."""
    directory = Path(tempfile.mkdtemp(prefix="cx-"))
    server = private_server(directory)
    cluster = Cluster(directory, server)
    try:
        cluster.start_worker()
        yield cluster
    finally:
        cluster.stop_worker()
        cluster.client.close()
        server.stop()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def lab(cluster: Cluster) -> Iterator[Lab]:
    """JupyterLab on the private cluster."""
    directory = Path(tempfile.mkdtemp(prefix="cx-lab-"))
    lab = Lab(directory, cluster.env)
    try:
        yield lab.start()
    finally:
        lab.stop()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Headless Chromium."""
    with sync_playwright() as playwright:
        path = chromium(playwright)
        if path is None:
            missing("Chromium")
        flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=path, headless=True, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def notebook(lab: Lab, browser: Browser, request: pytest.FixtureRequest) -> Iterator[Callable[..., Notebook]]:
    """Opens a notebook whose first cell loads the extension; the given cells are numbered from 1."""
    opened: list[Notebook] = []
    with window(browser) as page:

        def open_notebook(*cells: str, name: str = "") -> Notebook:
            name = name or f"{request.node.name.translate(str.maketrans('[]/', '---'))}.ipynb"
            book = Notebook(lab, page, name, ["%load_ext codeexec_magic", *cells]).open()
            opened.append(book)
            book.run(0)
            return book

        yield open_notebook
        for book in opened:
            book.close()


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots go: ``CODEEXEC_PICTURES``, else a temporary folder."""
    named = os.environ.get("CODEEXEC_PICTURES")
    folder = Path(named) if named else tmp_path_factory.mktemp("pictures")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
