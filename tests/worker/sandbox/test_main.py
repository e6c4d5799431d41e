"""``python -m worker.sandbox``: one JSON result per file, from any folder, with nothing else running."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from codeexec_magic.contract import ExecutionResult, Reason, Status


def command(*arguments: str, folder: Path, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    line = [sys.executable, "-m", "worker.sandbox", *arguments]
    path = {"PATH": "/usr/bin:/bin", **env}
    return subprocess.run(line, cwd=folder, input=stdin, env=path, capture_output=True, text=True, check=False)


def test_results_come_in_order(tmp_path: Path) -> None:
    """Each file gives one line that follows the contract; the status is 0 whatever the cells did."""
    (tmp_path / "a.py").write_text("print('a')\n1 + 1")
    (tmp_path / "b.py").write_text("1 / 0")
    done = command("a.py", "b.py", "-", "--preload", "", folder=tmp_path, stdin="print('stdin')")
    assert done.returncode == 0, done.stderr
    results = [ExecutionResult.from_dict(json.loads(line)) for line in done.stdout.splitlines()]
    assert [result.reason for result in results] == [Reason.OK, Reason.ERROR, Reason.OK]
    assert [result.stdout for result in results] == ["a\n", "", "stdin\n"]
    assert results[1].status is Status.FAILED
    assert results[0].worker_id is None
    assert len(results[0].attempts) == 1


def test_limits_are_options(tmp_path: Path) -> None:
    """What was asked for is in force and in the result."""
    options = ("--soft-timeout", "0.5", "--memory-mb", "300", "--output-kb", "8", "--max-processes", "5")
    done = command(*options, "--preload", "", "-", folder=tmp_path, stdin="import time\ntime.sleep(60)")
    result: dict[str, Any] = json.loads(done.stdout)
    assert result["reason"] == "timeout"
    limits = result["limits"]
    assert (limits["soft_s"], limits["hard_s"], limits["memory_mb"], limits["output_kb"]) == (0.5, 30.5, 300, 8)


@pytest.mark.parametrize(
    "arguments",
    [("--memory-mb", "x", "-"), ("--memory-mb", "-5", "-"), ("nosuch.py",), (), ("--nonsense", "-")],
)
def test_bad_usage(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """Bad usage gives status 2 and one line that says what is wrong."""
    done = command(*arguments, folder=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""


def test_probe(tmp_path: Path) -> None:
    """The report is JSON, with every guard tried against its control."""
    done = command("--probe", folder=tmp_path)
    report = json.loads(done.stdout)
    assert done.returncode == 0
    assert report["level"] in (1, 2)
    assert set(report["checks"]) >= {"tcp", "unix", "file", "memory", "namespaces"}
    assert report["advice"]


def test_required_isolation_that_cannot_be_had(tmp_path: Path) -> None:
    """Status 3 and the reason where the required level is not there."""
    script = "from worker.sandbox import __main__, sandbox\nstart = sandbox.Sandbox.__init__\n"
    script += "def weaker(self, **options): start(self, **options, level=1)\nsandbox.Sandbox.__init__ = weaker\n"
    script += "import sys\nsys.exit(__main__.main(['-']))"
    env = {"PATH": "/usr/bin:/bin", "CODEEXEC_REQUIRED_ISOLATION": "2"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=env, cwd=tmp_path, input="1", capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    assert "isolation level 2 is required" in done.stderr


def test_nothing_of_the_broker_is_imported() -> None:
    """The sandbox is usable alone: neither Celery nor Redis nor IPython in the worker's process."""
    script = "import sys, worker.sandbox, worker.sandbox.__main__\n"
    script += "print([m for m in ('celery', 'redis', 'kombu', 'IPython', 'worker.app') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
