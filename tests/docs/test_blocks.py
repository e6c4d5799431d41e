"""Every command and every piece of code in the documents runs as it stands there."""

from __future__ import annotations

import contextlib
import doctest
import io
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from blocks import PARSED, ROOT, RUN, SHOWN, Block, blocks, documents
from IPython.core.interactiveshell import InteractiveShell
from live_cluster import LiveCluster

pytestmark = pytest.mark.docs

DOCUMENTS = documents()
#: blocks that are shown but not run; a new one needs a reason above it and a new number here
NOT_RUN = 11
#: longest time for one block of commands (seconds)
COMMANDS_S = 120


@pytest.fixture
def shell(cluster: LiveCluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[InteractiveShell]:
    """A real IPython shell in an empty folder, whose jobs go to the private cluster."""
    for name, value in cluster.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    folder = tmp_path / "folder"
    folder.mkdir()
    monkeypatch.chdir(folder)
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance()
    shell.colors = "nocolor"
    yield shell
    shell.run_line_magic("unload_ext", "codeexec_magic") if "codeexec_magic" in shell.extension_manager.loaded else None
    InteractiveShell.clear_instance()


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "path", [path for path in DOCUMENTS if any(blocks(path))], ids=lambda path: str(path.relative_to(ROOT))
)
def test_blocks_of_a_document_run(path: Path, shell: InteractiveShell, cluster: LiveCluster, tmp_path: Path) -> None:
    """The blocks of a document run from its first to its last, in one shell and one folder."""
    printed = ""
    for block in blocks(path):
        if block.word == "prints":
            assert matches(block.body, printed), f"{block.where}: the block above printed {printed!r}"
        elif block.word in ("not run", "run", "test"):
            continue
        elif block.language == "sh":
            printed = run_commands(block, cluster, Path.cwd())
        elif block.language in RUN:
            printed = run_cell(block, shell)
        elif block.language in PARSED:
            parse(block)


def test_every_block_says_what_it_is() -> None:
    """A block has a known language, a block that is not run has a reason, and their number is known."""
    shown = []
    for path in DOCUMENTS:
        for block in blocks(path):
            assert block.language in RUN | PARSED | SHOWN, f"{block.where}: unknown language {block.language!r}"
            if block.word == "not run":
                assert len(block.text.split()) >= 3, f"{block.where}: say why it is not run"
                shown.append(block.where)
    assert len(shown) == NOT_RUN, shown


def test_the_runner_notices_what_fails(shell: InteractiveShell, cluster: LiveCluster) -> None:
    """A cell that raises, a command that fails and a wrong output do not pass."""
    broken = Block(DOCUMENTS[0], 1, "ipython", "1 / 0\n")
    with pytest.raises(pytest.fail.Exception, match="ZeroDivisionError"):
        run_cell(broken, shell)
    with pytest.raises(pytest.fail.Exception, match="ended with 3"):
        run_commands(Block(DOCUMENTS[0], 1, "sh", "exit 3\n"), cluster, Path.cwd())
    assert not matches("one\n", "two\n")
    assert matches("one ... three\n", "one two three\n")


def run_cell(block: Block, shell: InteractiveShell) -> str:
    """Run a block of Python as one cell; what it printed."""
    written = io.StringIO()
    with contextlib.redirect_stdout(written):
        done = shell.run_cell(block.body, store_history=True)
    error: BaseException | None = done.error_before_exec or done.error_in_exec
    name = type(error).__name__ if error is not None else ""
    if name != block.text * (block.word == "raises"):
        pytest.fail(f"{block.where}: {name or 'nothing'} was raised: {error}\n{written.getvalue()[-2000:]}")
    return written.getvalue()


def run_commands(block: Block, cluster: LiveCluster, folder: Path) -> str:
    """Run a block of commands in a shell that stops at the first one that fails; what it printed."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block.body],
        cwd=folder,
        env={**os.environ, **cluster.env, "PATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=COMMANDS_S,
        check=False,
    )
    if done.returncode:
        pytest.fail(f"{block.where}: ended with {done.returncode}: {done.stdout[-3000:]}")
    return done.stdout


def parse(block: Block) -> Any:
    """Read a block of data as what it claims to be."""
    return {"toml": tomllib.loads, "json": json.loads, "yaml": yaml.safe_load}[block.language](block.body)


def matches(expected: str, printed: str) -> bool:
    """Whether this was printed, where ``...`` stands for anything and differences of white space do not count."""
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    return doctest.OutputChecker().check_output(expected, printed, flags)
