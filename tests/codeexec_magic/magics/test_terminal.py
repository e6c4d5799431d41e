"""Plain IPython in a real terminal: one status line, clean output, Ctrl-C."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest
from live_cluster import LiveCluster
from support import terminal_screen

# pexpect forks this process, which other tests have given threads
pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")


@pytest.fixture
def terminal(cluster: LiveCluster, tmp_path: Path) -> Iterator[pexpect.spawn[str]]:
    """IPython with the extension loaded, waiting for input."""
    command = ["-m", "IPython", "--no-banner", "--simple-prompt", "--colors=NoColor", "--no-confirm-exit"]
    env = {**os.environ, **cluster.env, "IPYTHONDIR": str(tmp_path), "TERM": "xterm", "COLUMNS": "150"}
    child = pexpect.spawn(sys.executable, command, env=env, cwd=str(tmp_path), encoding="utf-8", timeout=40)
    child.setwinsize(40, 150)
    child.expect_exact("In [1]: ")
    child.sendline("%load_ext codeexec_magic")
    child.expect_exact("In [2]: ")
    yield child
    child.close(force=True)


def cell(code: str) -> str:
    """A cell magic as one line of input."""
    first, _, body = code.partition("\n")
    return f"get_ipython().run_cell_magic('remote_exec', {first!r}, {body!r})"


def test_status_line_is_rewritten_and_gone_at_the_end(terminal: pexpect.spawn[str]) -> None:
    """While the job is quiet one line tells how it stands; output is never mixed into it."""
    terminal.sendline(cell("--no-cache\nimport time\ntime.sleep(1.5)\nprint('x' * 5)"))
    terminal.expect("● Running  [0-9a-f]{8}  code_execution")
    terminal.expect_exact("\r\x1b[2K")
    terminal.expect_exact("\r\x1b[2Kxxxxx\r\n")
    terminal.expect(r"✓ Succeeded  [0-9a-f]{8}  code_execution · \S+  waited \d+\.\d s · ran \d+\.\d s\r\n")
    terminal.expect_exact("In [3]: ")


def test_escape_sequences_are_removed(terminal: pexpect.spawn[str]) -> None:
    """A remote cell can colour its text, and cannot set the title or move the cursor."""
    terminal.sendline(cell("--no-cache\nprint('\\x1b]0;owned\\x07\\x1b[2J\\x1b[32mgreen\\x1b[0m')"))
    terminal.expect_exact("\x1b[32mgreen\x1b[0m\r\n")
    assert "owned\x07" not in terminal.before
    assert "\x1b[2J" not in terminal.before


def test_ctrl_c_cancels(terminal: pexpect.spawn[str]) -> None:
    """Ctrl-C cancels the task; one line says so and the prompt is back."""
    terminal.sendline(cell("--no-cache\nimport time\nprint('started')\ntime.sleep(60)"))
    terminal.expect_exact("started\r\n")
    terminal.sendintr()
    terminal.expect(r"⊘ Cancelled  [0-9a-f]{8}")
    terminal.expect(r"RemoteCancelled(\x1b\[0m)?: task [0-9a-f]{8} cancelled")
    terminal.expect_exact("In [3]: ")
    assert "Traceback" not in terminal.before


def test_background_job_is_attached_later(terminal: pexpect.spawn[str]) -> None:
    """There is one place to write to, so a background job is silent until it is attached."""
    terminal.sendline(cell("--no-cache --no-wait\nprint('from behind')"))
    terminal.expect(r"submitted task [0-9a-f]{8} to code_execution")
    terminal.expect_exact("In [3]: ")
    terminal.sendline("%remote_attach")
    terminal.expect_exact("from behind\r\n")
    terminal.expect_exact("✓ Succeeded")


def test_displays_that_change_are_rewritten_in_place(terminal: pexpect.spawn[str]) -> None:
    """A progress bar takes one line, an inner one the line below it, and text that follows stands below both."""
    terminal.sendline(
        cell(
            "--no-cache\nfrom tqdm.auto import tqdm\nimport time\nfor i in tqdm(range(3), desc='outer'):\n"
            "    for j in tqdm(range(3), desc='inner', leave=False):\n        time.sleep(.15)\nprint('below')"
        )
    )
    terminal.expect_exact("below\r\n")
    said = terminal.before
    first = said.index("outer:   0%")
    assert said.count("inner:", first) > 3
    outer, *rest = terminal_screen(said[first:])
    assert outer.startswith("outer: 100%|██████████| 3/3")
    assert rest == [""]
    terminal.expect_exact("✓ Succeeded")
