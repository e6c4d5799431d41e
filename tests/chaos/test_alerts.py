"""Dead letters are told of, whoever dies meanwhile."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from harness import Cluster
from support import wait_until

from codeexec_magic.contract import Status

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """One supervised worker whose alert hook appends the task id to a file."""
    write = "open(os.environ['CHAOS_LEDGER'] + '.told', 'a').write(json.load(sys.stdin)['task_id'] + chr(10))"
    with Cluster(env={"CODEEXEC_ALERT": f'{sys.executable} -c "import json, os, sys; {write}"'}) as cluster:
        yield cluster


@pytest.mark.parametrize("point", [None, "after-finish", "in-alert"])
def test_the_hook_is_called_once_for_an_entry(cluster: Cluster, point: str | None) -> None:
    """Also when the worker is killed between recording it and claiming it, or between claiming it and telling of it."""
    told = cluster.ledger.with_suffix(".told")
    cluster.wait_for_workers()
    if point:
        cluster.fail_at(point)
    job = cluster.client.submit("raise MemoryError", retries=0, cache=False)
    assert job.result(60).status is Status.DEAD_LETTERED
    wait_until(lambda: told.exists() and job.id in told.read_text(), 60, "the hook")
    wait_until(lambda: not cluster.client.store.redis.exists("codeexec:default:alerts"), 30, "the end of the telling")
    assert told.read_text().count(job.id) == 1
    log = (cluster.directory / "worker-0.log").read_text()
    errors = [
        line for line in log.splitlines() if '"level": "error", "event": "dead_letter"' in line and job.id in line
    ]
    assert len(errors) == (2 if point == "in-alert" else 1), log
