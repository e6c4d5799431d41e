"""An orderly stop of the embedded cluster: what it waits for, and what it says."""

from __future__ import annotations

import pytest
from support import wait_until

from codeexec_magic import Client
from codeexec_magic.local import shutdown
from codeexec_magic.local.directory import ClusterDirectory

pytestmark = pytest.mark.slow


def test_a_stop_waits_for_running_cells(home: ClusterDirectory) -> None:
    """A cell that runs may finish; the stop then says just that."""
    with Client() as client:
        job = client.submit("import time; time.sleep(2); print('done')", cache=False)
        wait_until(lambda: str(job.status) == "running", 60)
        lines: list[str] = []
        stopped = shutdown.stop(60, lines.append)
        assert str(stopped) == "stopped"
        assert lines == ["waiting up to 60 s for 1 job to finish (--now does not wait)"]
    with Client() as client:
        assert client.job(job.id).result(60).stdout == "done\n"


def test_a_stop_now_keeps_every_job(home: ClusterDirectory, monkeypatch: object) -> None:
    """Without grace the cells that run, and the jobs that wait, are counted, told, and run after the next start."""
    with Client() as client:
        slots = client.workers()[0].slots if client.workers() else 1
        code = "import pathlib, time\ntime.sleep(3)\nprint('done')"
        jobs = [client.submit(code, cache=False, label=str(number)) for number in range(slots + 2)]
        wait_until(lambda: [str(job.status) for job in jobs].count("running") == slots, 60)
        text = str(shutdown.stop(0))
    assert text == (
        f"stopped; {slots} job{'s' * (slots != 1)} interrupted: back in the queue, to run from the beginning; "
        "2 jobs waiting. All are kept for the next start"
    )
    with Client() as client:
        assert [client.job(job.id).result(90).stdout for job in jobs] == ["done\n"] * len(jobs)


def test_nothing_to_stop(home: ClusterDirectory) -> None:
    """Without a cluster that is what is said."""
    assert str(shutdown.stop()) == "not running"
