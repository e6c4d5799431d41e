"""The magics in real kernels without a browser: unattended clients, clients without widgets, saved notebooks."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager
from live_cluster import LiveCluster
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat.v4 import new_code_cell, new_notebook

# pyzmq and its callers warn about event loops that they do not close themselves
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::pytest.PytestUnraisableExceptionWarning")

LOAD = "%load_ext codeexec_magic"
VIEW = "application/vnd.jupyter.widget-view+json"


@pytest.fixture
def env(cluster: LiveCluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An environment whose kernels use the live cluster; its folder."""
    for name, value in cluster.env.items():
        monkeypatch.setenv(name, value)
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    return tmp_path


def execute(folder: Path, *cells: str) -> Any:
    """Run a notebook as nbclient, papermill and nbconvert do; the notebook with its outputs."""
    notebook = new_notebook(cells=[new_code_cell(source) for source in (LOAD, *cells)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    client = NotebookClient(notebook, timeout=60, resources={"metadata": {"path": str(folder)}})
    try:
        client.execute()
    finally:
        nbformat.write(notebook, folder / "run.ipynb")
    return notebook


def test_unattended_notebook_holds_static_output_only(env: Path) -> None:
    """What is saved needs neither kernel nor JavaScript: streams, tables, and the card as HTML and text."""
    notebook = execute(
        env,
        "%%remote_exec --no-cache\nimport time\nfor i in range(8): print('line', i); time.sleep(.1)",
        "%%remote_exec --no-cache\nimport pandas as pd\npd.DataFrame({'x': [1]})",
        "%%remote_exec --no-cache --no-wait\nprint('behind')",
        "%remote_wait",
    )
    bundles = [one.data for cell in notebook.cells for one in cell.outputs if "data" in one]
    assert not any(VIEW in bundle for bundle in bundles)
    assert "widgets" not in notebook.metadata
    assert "".join(one.text for one in notebook.cells[1].outputs if one.output_type == "stream").count("line 7") == 1
    assert notebook.cells[1].outputs[-1].data["text/plain"].startswith("✓ Succeeded  ")
    assert "cxm-succeeded" in notebook.cells[1].outputs[-1].data["text/html"]
    assert "<table" in notebook.cells[2].outputs[0].data["text/html"]
    assert "✓ Succeeded" in notebook.cells[4].outputs[-1].data["text/plain"]


def test_unattended_failure_fails_the_notebook(env: Path) -> None:
    """nbclient, and so papermill and nbconvert, stop at a remote error and name it."""
    with pytest.raises(CellExecutionError) as caught:
        execute(env, "%%remote_exec --no-cache\nint('x')", "'must not run'")
    assert caught.value.ename == "ValueError"
    assert "invalid literal for int()" in caught.value.evalue
    notebook = nbformat.read(env / "run.ipynb", 4)
    assert notebook.cells[2].execution_count is None
    kinds = [one.output_type for one in notebook.cells[1].outputs]
    assert kinds == ["display_data", "error"]


def test_saved_notebook_passes_nbval(env: Path) -> None:
    """Stock nbval accepts what nbclient saved, with the sanitise file of the demo notebooks."""
    execute(
        env,
        "%%remote_exec --no-cache\nimport sys\nprint('out')\nprint('err', file=sys.stderr)\n'value'",
        "# NBVAL_RAISES_EXCEPTION\n'a placeholder'",
        "%%remote_exec --no-cache --no-wait\nprint('behind')",
        "%remote_wait",
        "%remote_attach last",
        "%remote_status",
    )
    sanitize = Path(__file__).parents[3] / "notebooks" / "sanitize.cfg"
    assert sanitize.is_file()
    notebook = nbformat.read(env / "run.ipynb", 4)
    del notebook.cells[2]
    nbformat.write(notebook, env / "run.ipynb")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval", "--nbval-current-env",
         "--nbval-sanitize-with", str(sanitize), str(env / "run.ipynb"), "-c", os.devnull],
        capture_output=True, text=True, cwd=env, timeout=110, check=False,
    )  # fmt: skip
    assert "6 passed" in done.stdout, done.stdout[-6000:] + done.stderr[-2000:]


def papermill(folder: Path, *cells: str, **parameters: str) -> tuple[subprocess.CompletedProcess[str], Any]:
    """Run a notebook with papermill, its second cell tagged as parameters; how that ended, and what it wrote."""
    notebook = new_notebook(cells=[new_code_cell(source) for source in (LOAD, *cells)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook.cells[1].metadata["tags"] = ["parameters"]
    notebook.cells[-1].metadata["tags"] = ["raises-exception"]
    nbformat.write(notebook, folder / "in.ipynb")
    options = [word for name, value in parameters.items() for word in ("-p", name, value)]
    done = subprocess.run(
        [sys.executable, "-m", "papermill", "--no-progress-bar", "in.ipynb", "out.ipynb", *options],
        capture_output=True, text=True, cwd=folder, timeout=110, check=False,
    )  # fmt: skip
    return done, nbformat.read(folder / "out.ipynb", 4)


def test_papermill_sends_its_parameters_along(env: Path) -> None:
    """Parameters go to remote cells with ``--in``; a failure that is expected is a result to look at, not an error."""
    done, notebook = papermill(
        env,
        "rows = 1",
        "%%remote_exec --in rows --out total --no-cache\ntotal = sum(range(rows))\nprint('rows', rows)",
        "%%remote_exec --no-wait --as doomed --no-cache\n1 / 0",
        "result = doomed.result()\nassert (total, result.error.ename) == (6, 'ZeroDivisionError')",
        rows="4",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    outputs = [one for cell in notebook.cells for one in cell.outputs]
    assert "rows 4\n" in [one.text for one in outputs if one.output_type == "stream"]
    assert any("✓ Succeeded" in one.data["text/plain"] for one in outputs if "data" in one)
    assert not any(VIEW in one.data for one in outputs if "data" in one)


def test_papermill_names_the_remote_error(env: Path) -> None:
    """It ends with the cell's own error, even where a tag allows one: that is its rule for every kernel."""
    done, notebook = papermill(env, "rows = 1", "%%remote_exec --no-cache\nprint('so far')\nint('x')")
    assert done.returncode != 0
    assert "ValueError: invalid literal for int()" in done.stderr
    outputs = [one for cell in notebook.cells if cell.cell_type == "code" for one in cell.outputs]
    assert [one.output_type for one in outputs[-3:]] == ["stream", "display_data", "error"]


class Kernel:
    """A kernel and a client that offers to ask, as a person's front end does."""

    def __init__(self, client: BlockingKernelClient) -> None:
        self.client = client

    def run(self, cell: str, *, interrupt: KernelManager | None = None, at: str = "") -> list[dict[str, Any]]:
        """Run a cell; its messages. Interrupts once a stream message contains ``at``."""
        seen: list[dict[str, Any]] = []

        def hook(message: dict[str, Any]) -> None:
            seen.append({"type": message["msg_type"], **message["content"]})
            if interrupt is not None and at in message["content"].get("text", ""):
                interrupt.interrupt_kernel()

        self.client.execute_interactive(cell, timeout=60, output_hook=hook, allow_stdin=True)
        return seen


@pytest.fixture
def start(env: Path) -> Iterator[Callable[..., tuple[Kernel, KernelManager]]]:
    """Starts kernels; keyword arguments are added to their environment."""
    started: list[tuple[KernelManager, BlockingKernelClient]] = []

    def start_kernel(**extra: str) -> tuple[Kernel, KernelManager]:
        manager = KernelManager(kernel_name="python3")
        manager.start_kernel(env={**os.environ, **extra}, cwd=str(env))
        client = manager.blocking_client()
        client.start_channels()
        client.wait_for_ready(timeout=60)
        started.append((manager, client))
        kernel = Kernel(client)
        kernel.run(LOAD)
        return kernel, manager

    yield start_kernel
    for manager, client in started:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def bundles(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All MIME bundles, first showings and updates."""
    return [one["data"] for one in messages if one["type"] in ("display_data", "update_display_data")]


def test_attended_cell_shows_a_card_and_takes_it_away(start: Callable[..., tuple[Kernel, KernelManager]]) -> None:
    """The live card appears above the output, then leaves an empty place and no widget models."""
    kernel, _ = start()
    messages = kernel.run("%%remote_exec --no-cache\nimport time; print('x'); time.sleep(1)")
    shown = bundles(messages)
    assert shown[0] == {}
    assert VIEW in shown[1]
    assert "submitted to code_execution (%remote_attach" in shown[1]["text/plain"]
    assert shown[-2] == {}
    assert shown[-1]["text/plain"].startswith("✓ Succeeded")
    opened = {one["comm_id"] for one in messages if one["type"] == "comm_open"}
    closed = {one["comm_id"] for one in messages if one["type"] == "comm_close"}
    assert opened
    assert opened == closed


def test_attach_from_another_notebook(start: Callable[..., tuple[Kernel, KernelManager]]) -> None:
    """A kernel that never heard of a job replays what it wrote and goes on live: nothing missing, nothing double."""
    (first, _), (second, _) = start(), start()
    said = first.run(
        "%%remote_exec --no-cache --no-wait\nimport time\nfor i in range(20): print('line', i); time.sleep(.1)"
    )
    name = next(one["text"] for one in said if one["type"] == "stream").split()[2]
    seen = second.run(f"%remote_attach {name}")
    text = "".join(one["text"] for one in seen if one["type"] == "stream")
    assert text.splitlines() == [f"line {i}" for i in range(20)]
    assert "✓ Succeeded" in bundles(seen)[-1]["text/plain"]
    assert name in bundles(second.run("%remote_jobs -n 3"))[-1]["text/plain"]


def test_client_without_widgets(start: Callable[..., tuple[Kernel, KernelManager]]) -> None:
    """A client that draws no widgets and updates displays says that the job was submitted, then shows the card."""
    kernel, _ = start()
    drawn: dict[str, str] = {}
    screens = []
    for number, one in enumerate(kernel.run("%%remote_exec --no-cache\nimport time; print('x'); time.sleep(1)")):
        if one["type"] == "stream":
            drawn[str(number)] = one["text"]
        elif one["type"] in ("display_data", "update_display_data"):
            drawn[one["transient"].get("display_id", str(number))] = one["data"].get("text/plain", "")
        screens.append("\n".join(filter(None, drawn.values())))
    assert any("submitted to code_execution (%remote_attach" in screen for screen in screens)
    assert screens[-1].startswith("x\n\n✓ Succeeded")


def test_quick_cell_builds_no_widgets(start: Callable[..., tuple[Kernel, KernelManager]]) -> None:
    """A cached answer is cheaper than a card would be."""
    kernel, _ = start()
    kernel.run("%%remote_exec\n'quick'")
    messages = kernel.run("%%remote_exec\n'quick'")
    assert not [one for one in messages if one["type"].startswith("comm_")]
    assert "⚡ Cached" in bundles(messages)[-1]["text/plain"]


def test_without_ipywidgets(start: Callable[..., tuple[Kernel, KernelManager]], env: Path) -> None:
    """A kernel without ipywidgets streams, interrupts and ends with the same static card."""
    (env / "without").mkdir()
    (env / "without" / "sitecustomize.py").write_text("import sys; sys.modules['ipywidgets'] = None\n")
    kernel, _ = start(PYTHONPATH=str(env / "without"))
    messages = kernel.run("%%remote_exec --no-cache\nimport time; print('x'); time.sleep(.5); 1")
    assert "".join(one["text"] for one in messages if one["type"] == "stream") == "x\n"
    assert not [one for one in messages if one["type"].startswith("comm_")]
    assert "✓ Succeeded" in bundles(messages)[-1]["text/plain"]
    kernel.run("%%remote_exec --no-cache --no-wait\nprint('behind')")
    assert "✓ Succeeded" in bundles(kernel.run("%remote_wait"))[-1]["text/plain"]


def test_interrupt_is_one_line(start: Callable[..., tuple[Kernel, KernelManager]]) -> None:
    """Stop raises RemoteCancelled with one line, after the output so far and the card."""
    kernel, manager = start()
    messages = kernel.run(
        "%%remote_exec --no-cache\nimport time\nfor i in range(300): print('line', i); time.sleep(.1)",
        interrupt=manager,
        at="line 3",
    )
    (error,) = [one for one in messages if one["type"] == "error"]
    assert error["ename"] == "RemoteCancelled"
    assert len(error["traceback"]) == 1
    assert "⊘ Cancelled" in bundles(messages)[-1]["text/plain"]
    assert [one["data"]["text/plain"] for one in kernel.run("1 + 1") if one["type"] == "execute_result"] == ["2"]


def test_import_is_light() -> None:
    """Neither the package nor its client loads IPython, ipywidgets or a sanitiser."""
    code = (
        "import sys, codeexec_magic, codeexec_magic.client\n"
        "print([m for m in ('IPython', 'ipywidgets', 'nh3', 'codeexec_magic.magics') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
