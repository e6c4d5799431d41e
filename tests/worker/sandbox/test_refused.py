"""A host that refuses namespaces: a filter on the whole process tree, as a container engine puts it on."""

from __future__ import annotations

import json
import subprocess
import sys

from worker.sandbox import probe

SCRIPT = """
import errno, json, os, sys
from codeexec_magic.contract import stream_text
from worker.sandbox import Cell, Sandbox
from worker.sandbox.linux import bpf, syscalls

program = bpf.Assembler()
program.load(0)
program.refuse_calls([272 if syscalls.machine() == "x86_64" else 97])
program.answer(0x7FFF0000)
syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
syscalls.install_filter(program.program())

with Sandbox(slots=1, preload=()) as sandbox:
    events = []
    code = "import socket\\ntry:\\n    socket.socket()\\nexcept OSError as err:\\n    print(err.errno)"
    outcome = sandbox.run(Cell("x", code)).wait(events.append)
    print(json.dumps([sandbox.report, outcome.success, stream_text(events, "stdout")]))
try:
    Sandbox(slots=1, preload=(), required_isolation=2).start()
except Exception as err:
    print(json.dumps([type(err).__name__, str(err)]))
"""


def test_level_one_when_unshare_is_refused() -> None:
    """The sandbox comes up at level 1, says why, holds the network wall, and refuses where 2 is required."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    first, second = (json.loads(line) for line in done.stdout.splitlines())
    report, success, text = first
    assert report["level"] == 1
    assert any("Operation not permitted" in item for item in report["missing"])
    assert all(check["refused"] for check in report["checks"].values())
    # the host refuses it to everybody: that a cell is refused it proves nothing, and that is said
    assert not report["checks"]["namespaces"]["control"]
    assert any("guard namespaces (seccomp): not provable here" in words for words in probe.explain(report))
    assert success
    assert text == "97\n"
    assert second[0] == "IsolationUnavailable"
    assert "Operation not permitted" in second[1]
