"""One private cluster, one JupyterLab and one browser for all browser tests."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from live_cluster import LiveCluster
from support import missing

# importlib mode puts no test folder on the path, and the driver lives beside this file
sys.path.insert(0, str(Path(__file__).parent))

if find_spec("playwright") or os.environ.get("CI"):
    from lab import Lab, Notebook, chromium, window
    from playwright.sync_api import Browser, sync_playwright
else:
    # collected by every run, wanted by few
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def lab(cluster: LiveCluster) -> Iterator[Lab]:
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
    """Opens a notebook whose first cell loads the extension; the given cells are numbered from 1.

    No page may ask for anything but what JupyterLab's own server has, unless its test says ``outside=True``.
    """
    opened: list[Notebook] = []
    asked: list[str] = []
    allowed = False
    with window(browser) as page:
        # requests that fail are among them, but not those that the page's own policy stopped before they were sent
        page.context.on("request", lambda one: asked.append(one.url))
        page.context.on("requestfailed", lambda one: asked.remove(one.url) if one.failure == "csp" else None)

        def open_notebook(*cells: str, name: str = "", outside: bool = False) -> Notebook:
            nonlocal allowed
            allowed = outside
            name = name or f"{request.node.name.translate(str.maketrans('[]/', '---'))}.ipynb"
            first = "%load_ext codeexec_magic\nimport sys, ipykernel; print(sys.executable, ipykernel.version_info[0])"
            book = Notebook(lab, page, name, [first, *cells]).open()
            opened.append(book)
            said = book.run(0).split()
            assert len(said) == 2, " ".join(said)
            python, major = said
            assert python == os.environ.get("CODEEXEC_KERNEL_PYTHON", sys.executable)
            book.kernel_major = int(major)
            book.asked = asked
            return book

        yield open_notebook
        for book in opened:
            book.close()
    own = (f"{lab.url}/", "data:", "blob:", f"ws://127.0.0.1:{lab.port}/", "about:")
    assert allowed or [url for url in asked if not url.startswith(own)] == []


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots go: ``CODEEXEC_PICTURES``, else a temporary folder."""
    named = os.environ.get("CODEEXEC_PICTURES")
    folder = Path(named) if named else tmp_path_factory.mktemp("pictures")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
