"""Two namespaces on one server: nothing of one is seen, taken or ended by the other."""

from __future__ import annotations

import subprocess
import sys

import pytest
from harness import Cluster
from support import wait_until

from codeexec_magic import Client
from codeexec_magic.contract import Status
from codeexec_magic.settings import Settings

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(180)]

SLOW = "import time\nprint('begun', flush=True)\ntime.sleep({})"


def test_two_namespaces_share_a_server_and_no_job() -> None:
    """Each one's workers run its jobs, by their process ids; cancels, dead letters and control commands stay apart."""
    settings = Settings(namespace="team")
    with Cluster(slots=2) as cluster, Client(cluster.server.url, cluster.server.backend_url, settings=settings) as team:
        ours = set(cluster.worker_pids())
        cluster.env["CODEEXEC_NAMESPACE"] = "team"
        cluster.supervisors.append(cluster.supervisor(1))
        wait_until(lambda: any(worker.alive for worker in team.workers()), 100, "the other namespace's worker")
        theirs = set(cluster.worker_pids()) - ours
        jobs = [client.submit(f"'{n}'", cache=False) for n in range(10) for client in (cluster.client, team)]
        slow = team.submit(SLOW.format(60), cache=False)
        assert all(job.result(60).success for job in jobs)
        cluster.wait_for_start(slow)
        ran_by = cluster.workers_by_job()
        for job in [*jobs, slow]:
            assert ran_by[job.id] <= {str(pid) for pid in (theirs if job.connection is team else ours)}
        assert slow.cancel() is Status.RUNNING
        assert slow.result(60).status is Status.CANCELLED
        assert team.submit("raise MemoryError", retries=0, cache=False).result(60).status is Status.DEAD_LETTERED
        assert cluster.client.dead_letters() == []
        assert len(team.dead_letters()) == 1
        for env, node in (({**cluster.env, "CODEEXEC_NAMESPACE": "default"}, "w0@"), (cluster.env, "w1@")):
            command = [sys.executable, "-m", "celery", "-A", "worker.app", "inspect", "ping"]
            told = subprocess.run(command, env=env, cwd="/", capture_output=True, text=True, check=True).stdout
            assert node in told
            assert "1 node online" in told
        log = cluster.log()
        assert "rejected" not in log
        assert '"event": "skipped"' not in log
        # nobody listens on the default namespace's lists any more, so what is queued there stays
        cluster.supervisors[0].terminate()
        cluster.supervisors[0].wait(30)
        waiting = cluster.client.submit("'nobody'", cache=False)
        assert team.submit("'somebody'", cache=False).result(60).success
        assert waiting.status is Status.QUEUED
