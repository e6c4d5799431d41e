"""A real JupyterLab in a real browser, driven the way a user drives it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
from nbformat.v4 import new_code_cell, new_notebook
from playwright.sync_api import Browser, Locator, Page, Playwright
from support import wait_until

#: Lab's page is large; a cold start on a busy machine takes its time (seconds)
PATIENCE = 60.0


def chromium(playwright: Playwright) -> str | None:
    """A Chromium to use: the system's, else the one Playwright downloaded."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    own = playwright.chromium.executable_path
    return own if Path(own).exists() else None


class Lab:
    """One JupyterLab server, with settings and folders of its own."""

    def __init__(self, directory: Path, env: Mapping[str, str]) -> None:
        self.directory = directory
        self.notebooks = directory / "notebooks"
        self.notebooks.mkdir(parents=True)
        self._env = self._private(env)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Lab:
        """Start and wait until it answers."""
        command = [
            sys.executable, "-m", "jupyterlab", "--no-browser", f"--port={self.port}", "--ServerApp.port_retries=0",
            "--ip=127.0.0.1", "--allow-root", "--IdentityProvider.token=", "--ServerApp.password=",
            f"--ServerApp.root_dir={self.notebooks}", "--expose-app-in-browser", "--LabApp.extension_manager=readonly",
        ]  # fmt: skip
        with (self.directory / "lab.log").open("wb") as log:
            self._process = subprocess.Popen(
                command, env=self._env, cwd=self.directory, stdout=log, stderr=log, start_new_session=True
            )
        wait_until(self._answers, PATIENCE, "JupyterLab's answer")
        return self

    def stop(self) -> None:
        """Stop it and its kernels."""
        if self._process is None:
            return
        os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(20)

    def _answers(self) -> bool:
        """Whether the server is up."""
        assert self._process is not None
        assert self._process.poll() is None, (self.directory / "lab.log").read_text()
        try:
            with urllib.request.urlopen(f"{self.url}/api", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _private(self, env: Mapping[str, str]) -> dict[str, str]:
        """Folders of its own; ``CODEEXEC_KERNEL_PYTHON`` names another interpreter for the kernels."""
        folders = {
            "JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data", "JUPYTER_RUNTIME_DIR": "runtime",
            "JUPYTERLAB_SETTINGS_DIR": "settings", "JUPYTERLAB_WORKSPACES_DIR": "workspaces", "IPYTHONDIR": "ipython",
        }  # fmt: skip
        settings = {
            # asks the network, and draws over the page
            "notification": {"fetchNews": "false", "checkForUpdates": False},
            # else cells outside the window are not in the page, nor outputs beyond the fiftieth
            "tracker": {"windowingMode": "none", "maxNumberOutputs": 1000},
        }
        for name, values in settings.items():
            extension = "apputils-extension" if name == "notification" else "notebook-extension"
            path = self.directory / "settings" / "@jupyterlab" / extension / f"{name}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(values))
        if python := os.environ.get("CODEEXEC_KERNEL_PYTHON"):
            kernel = self.directory / "data" / "kernels" / "python3" / "kernel.json"
            kernel.parent.mkdir(parents=True)
            argv = [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
            kernel.write_text(json.dumps({"argv": argv, "display_name": "Python 3", "language": "python"}))
        private = {name: str(self.directory / folder) for name, folder in folders.items()}
        # a virtual environment's own kernel would stand before the one named above
        fixed = {"PYDEVD_DISABLE_FILE_VALIDATION": "1", "JUPYTER_PREFER_ENV_PATH": "0"}
        return {**os.environ, **fixed, **private, **env}


class Notebook:
    """One notebook open in the browser."""

    def __init__(self, lab: Lab, page: Page, name: str, cells: Sequence[str]) -> None:
        self.lab, self.page, self.name = lab, page, name
        self.path = lab.notebooks / name
        #: of ipykernel
        self.kernel_major = 0
        #: every URL the page has asked for
        self.asked: list[str] = []
        notebook = new_notebook(cells=[new_code_cell(source) for source in cells])
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, self.path)

    def open(self) -> Notebook:
        """Load the page and wait for a kernel."""
        self.page.goto(f"{self.lab.url}/lab/tree/{self.name}?reset")
        self.page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=PATIENCE * 1000)
        self.page.wait_for_function(f"() => {_KERNEL}?.status === 'idle'", timeout=PATIENCE * 1000)
        return self

    def cell(self, index: int) -> Locator:
        """A code cell."""
        return self.page.locator(".jp-Notebook .jp-CodeCell").nth(index)

    def output(self, index: int) -> Locator:
        """Where a cell's output is drawn."""
        return self.cell(index).locator(".jp-Cell-outputArea")

    def text(self, index: int) -> str:
        """What a cell's output says."""
        area = self.output(index)
        return area.inner_text() if area.count() else ""

    def write(self, index: int, source: str) -> None:
        """Replace a cell's source."""
        self.page.evaluate(
            "([i, s]) => { window.jupyterapp.shell.currentWidget.content.widgets[i].model.sharedModel.setSource(s) }",
            [index, source],
        )

    def start(self, index: int) -> None:
        """Press Shift-Enter in a cell, and do not wait."""
        self.page.evaluate(
            "async (i) => { const n = window.jupyterapp.shell.currentWidget.content; n.activeCellIndex = i;"
            " n.deselectAll(); window.jupyterapp.commands.execute('notebook:run-cell'); }",
            index,
        )

    def run(self, index: int, timeout: float = PATIENCE) -> str:
        """Run a cell to its end; what its output says."""
        before = self.prompt(index)
        self.start(index)
        self.wait_done(index, before, timeout)
        return self.text(index)

    def prompt(self, index: int) -> str:
        """``[1]:`` once a cell has run, ``[*]:`` while it does."""
        return self.cell(index).locator(".jp-InputPrompt").inner_text()

    def wait_done(self, index: int, before: str = "[ ]:", timeout: float = PATIENCE) -> None:
        """Wait until a cell has a number again."""

        def done() -> bool:
            now = self.prompt(index)
            return now not in (before, "[*]:") and any(c.isdigit() for c in now)

        self.poll(done, timeout, f"the end of cell {index}")

    def poll(self, predicate: Any, timeout: float = 45.0, what: str = "the condition") -> Any:
        """Like ``wait_until``, and lets the browser's events through meanwhile."""

        def looked() -> Any:
            self.page.wait_for_timeout(20)
            return predicate()

        return wait_until(looked, timeout, f"{what}; the page says {self.page.inner_text('.jp-Notebook')!r}: {what}")

    def says(self, index: int, words: str, timeout: float = 45.0) -> None:
        """Wait until a cell's output contains these words."""
        self.poll(lambda: words in self.text(index), timeout, repr(words))

    def interrupt(self) -> None:
        """Press Stop."""
        self.page.evaluate(f"async () => {{ await {_KERNEL}.interrupt() }}")

    def restart(self) -> None:
        """Restart the kernel, without the question."""
        self.page.evaluate(f"async () => {{ await {_KERNEL}.restart() }}")
        self.page.wait_for_function(f"() => {_KERNEL}?.status === 'idle'", timeout=PATIENCE * 1000)

    def save(self) -> Any:
        """Save; the notebook as it is on disk."""
        self.page.evaluate("async () => { await window.jupyterapp.shell.currentWidget.context.save() }")
        return nbformat.read(self.path, 4)

    def theme(self, name: str) -> None:
        """Switch to ``JupyterLab Light`` or ``JupyterLab Dark``."""
        self.page.evaluate(
            "async (t) => { await window.jupyterapp.commands.execute('apputils:change-theme', {theme: t}) }", name
        )
        light = "false" if "Dark" in name else "true"
        self.page.wait_for_selector(f'body[data-jp-theme-light="{light}"]', state="attached")

    def close(self) -> None:
        """Shut the kernel down and leave the page."""
        self.page.evaluate("async () => { await window.jupyterapp.shell.currentWidget?.sessionContext.shutdown() }")


_KERNEL = "window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel"


@contextmanager
def window(browser: Browser) -> Iterator[Page]:
    """A page in a context of its own."""
    context = browser.new_context(viewport={"width": 1180, "height": 900}, device_scale_factor=2)
    page = context.new_page()
    try:
        yield page
    finally:
        context.close()
