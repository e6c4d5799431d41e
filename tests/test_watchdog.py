"""A test run that a signal ends leaves nothing running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support import processes_mentioning, wait_until

pytestmark = pytest.mark.slow

TESTS = Path(__file__).parent

RUN = """
import time
from pathlib import Path
from codeexec_magic import local

def test_everything(redis_server, cluster, monkeypatch):
    monkeypatch.delenv("CELERY_BROKER_URL", raising=False)
    local.ensure()
    Path("ready").touch()
    time.sleep(600)
"""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_survives_the_run(short_tmp: Path, number: signal.Signals) -> None:
    """Server, worker and embedded cluster of a run end with it, be it by SIGTERM or by SIGKILL."""
    (short_tmp / "test_run.py").write_text(RUN)
    temporary = short_tmp / "t"
    temporary.mkdir()
    env = {
        **os.environ,
        "TMPDIR": str(temporary),
        "CODEEXEC_HOME": str(temporary / "c"),
        "CODEEXEC_PRELOAD": "json",
        "PYTHONPATH": str(TESTS),
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "conftest", "-c", os.devnull, "test_run.py"]
    with (short_tmp / "log").open("wb") as log:
        run = subprocess.Popen(command, cwd=short_tmp, env=env, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_until(
            lambda: (short_tmp / "ready").exists() or run.poll() is not None,
            200,
            "the run's server, worker and cluster",
        )
        assert run.poll() is None, (short_tmp / "log").read_text()
        assert len(processes_mentioning(str(temporary))) > 4
        run.send_signal(number)
        run.wait(30)
        wait_until(lambda: not processes_mentioning(str(temporary)), 30, "the end of all processes of the run")
    finally:
        run.kill()
        for pid in processes_mentioning(str(temporary)):
            os.kill(pid, signal.SIGKILL)
