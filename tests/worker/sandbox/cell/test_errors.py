"""What a cell's error tells: it is never lost, and what no cell has is named with what works instead."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

import pytest

from codeexec_magic.contract import Reason
from codeexec_magic.limits import Limits
from worker.sandbox import Cell, Outcome, Sandbox

pytestmark = pytest.mark.slow

LIMITS = Limits(soft_s=40.0, hard_s=45.0)

#: many messages that are begun and never ended, as killed children leave them
OPEN_PARTS = """
    import os
    for _ in range(1000):
        os.write(3, b"p" + os.urandom(8) + b"\\0" + b"x" * 4000)
    raise ValueError("x" * 10_000)
"""
EMPTY_LINES = """
    class Long(Exception):
        def _render_traceback_(self):
            return [""] * 5_000_000
    raise Long("lines")
"""
#: an end report of 9 MB with the real token
FORGED = """
    import gc, json, os
    token = next(found.token for found in gc.get_objects() if type(found).__name__ == "CellCode")
    report = ["EndReport", token, "ok", 0, None, [["x" * 9_000_000, 1]]]
    data = json.dumps(report, separators=(",", ":")).encode()
    for at in range(0, len(data), 4000):
        os.write(3, b"p12345678" + bytes([at + 4000 >= len(data)]) + data[at : at + 4000])
"""


@pytest.fixture(scope="module", params=[2, 1], ids=["level 2", "level 1"])
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """With namespaces, and without."""
    with Sandbox(slots=1, preload=(), required_isolation=0, level=request.param, probe=False) as one:
        yield one


def run(sandbox: Sandbox, code: str) -> Outcome:
    """Run a cell to its end."""
    events: list[dict[str, Any]] = []
    return sandbox.run(Cell("errors", textwrap.dedent(code), LIMITS)).wait(events.append)


@pytest.mark.parametrize(
    ("code", "reason", "said"),
    [
        (OPEN_PARTS, Reason.ERROR, "error: ValueError: xxx"),
        (EMPTY_LINES, Reason.ERROR, "error: Long: lines"),
        (FORGED, Reason.OUTPUT, "output: the report of the cell's end came to"),
    ],
    ids=["open parts", "empty lines", "forged"],
)
def test_an_end_is_never_lost(sandbox: Sandbox, code: str, reason: Reason, said: str) -> None:
    """An error whose report is long, or comes after much else, is that error; no report makes it an early exit."""
    outcome = run(sandbox, code)
    assert outcome.reason is reason, outcome.verdict
    assert outcome.verdict.startswith(said)


@pytest.mark.parametrize(
    ("code", "note"),
    [
        ("import urllib.request\nurllib.request.urlopen('http://example.org')", "network: cells have no network"),
        ("import socket\nsocket.create_connection(('127.0.0.1', 6379))", "network: cells have no network"),
        ("import socket\nsocket.create_connection(('192.0.2.1', 80))", "network: cells have no network"),
        ("import pandas\npandas.read_csv('https://example.org/a.csv')", "network: cells have no network"),
        (
            "import asyncio\nawait asyncio.open_connection('example.org', 80)",
            "network: cells have no network",
        ),
        ("import pty\npty.openpty()", "terminal: cells have no pseudo-terminals"),
        ("import pty\npty.fork()", "terminal: cells have no pseudo-terminals"),
        ("import pty\npty.spawn('ls')", "terminal: cells have no pseudo-terminals"),
        ("import os\nos.openpty()", "terminal: cells have no pseudo-terminals"),
        ("import os\nos.forkpty()", "terminal: cells have no pseudo-terminals"),
        ("open('/dev/ptmx')", "terminal: cells have no pseudo-terminals"),
        ("import pexpect\npexpect.spawn('ls')", "terminal: cells have no pseudo-terminals"),
    ],
)
def test_what_no_cell_has_is_named(sandbox: Sandbox, code: str, note: str) -> None:
    """The error ends with one line on it, which the verdict has as well."""
    outcome = run(sandbox, code)
    assert outcome.reason is Reason.ERROR
    assert outcome.error is not None
    last = outcome.error.traceback[-1]
    assert last.startswith(f"note: {note}")
    assert "\n" not in last
    assert last.removeprefix("note: ") in outcome.verdict
    if "network" in note:
        assert "--network asks for it" in last
        assert ("localhost is the cell's own" in last) == (sandbox.report["level"] == 2)


@pytest.mark.parametrize(
    "code",
    [
        "def f():\n    import os\n    os.openpty\n    open('missing')\nf()",
        "import os\nos.kill(999_999, 0)",
        "raise ConnectionError('of the cell itself')",
        "class E(OSError):\n    __context__ = property(lambda self: 1 / 0)\nraise E()",
    ],
)
def test_other_errors_have_no_note(sandbox: Sandbox, code: str) -> None:
    """What has nothing to do with it is left as it is."""
    outcome = run(sandbox, code)
    assert outcome.reason is Reason.ERROR
    assert outcome.error is not None
    assert "note:" not in "".join(outcome.error.traceback)


def test_pipes_do_what_the_note_says(sandbox: Sandbox) -> None:
    """The way that is advised in place of a pseudo-terminal works."""
    code = """
        from pexpect.popen_spawn import PopenSpawn
        child = PopenSpawn("cat", timeout=20)
        child.sendline("echoed")
        child.expect("echoed")
    """
    outcome = run(sandbox, code)
    assert outcome.success, outcome.verdict
