"""A job as an object: how it reads, how it is awaited."""

from __future__ import annotations

import asyncio
import threading

import pytest
from live_cluster import LiveCluster

from codeexec_magic import Client
from codeexec_magic.contract import Status
from codeexec_magic.job import Job


@pytest.fixture
def client(cluster: LiveCluster) -> Client:
    """A client of the live cluster."""
    return cluster.client


def test_a_job_is_awaited(client: Client) -> None:
    """Several at once, while the loop goes on; the result holds outputs as ``result()`` would."""

    async def main() -> tuple[list[str], int]:
        jobs = [client.submit(f"import time; time.sleep(.5); print({i})", cache=False) for i in range(2)]
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.02)

        ticking = asyncio.create_task(tick())
        results = await asyncio.gather(*jobs)
        ticking.cancel()
        assert await jobs[0] is results[0]
        return [one.stdout for one in results], ticks

    outputs, ticks = asyncio.run(main())
    assert outputs == ["0\n", "1\n"]
    assert ticks > 5


def test_awaiting_can_be_given_up(client: Client) -> None:
    """A task that no longer wants to wait ends, and so does the loop; the job goes on."""
    job = client.submit("import time; time.sleep(60)", cache=False)

    async def main() -> None:
        await asyncio.wait_for(job, 0.3)

    caught: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(main())
        except TimeoutError as err:
            caught.append(err)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    # closing the loop waits for its threads: one that waited for the job would be there for a minute
    thread.join(30)
    assert len(caught) == 1
    assert not job.done
    job.cancel()
    job.result(30)


def test_how_a_job_reads(client: Client) -> None:
    """As text and as a card: ended, expired, and with no broker to ask; looking at it never raises."""
    job = client.submit("6 * 7", cache=False)
    job.result(60)
    assert repr(job) == f"<Job {job.id} succeeded on code_execution>"
    assert "Succeeded" in job._repr_html_()
    gone = Job(client, "00000000-0000-4000-8000-000000000000", "<b>")
    assert repr(gone) == f"<Job {gone.id} expired>"
    assert gone._repr_html_() == f"<code>&lt;Job {gone.id} expired&gt;</code>"
    away = Job(Client("redis://127.0.0.1:1/0"), job.id, "code_execution")
    assert repr(away) == f"<Job {job.id} on code_execution, broker not reachable>"
    assert "not reachable" in away._repr_html_()


def test_a_dead_letter_that_somebody_requeued_is_no_longer_dead(client: Client) -> None:
    """A handle that knows its outcome sees that the job went on."""
    job = client.submit("raise MemoryError", retries=0, cache=False)
    assert job.result(60).status is Status.DEAD_LETTERED
    client.requeue(job.id, code="'well'").result(60)
    assert job.status is Status.SUCCEEDED
    assert job.result(60).success
