"""What a cell may cost, in counts that no clock changes: commands, bytes, calls. Bounds are measured values plus room.

Celery's own traffic (BRPOP and its bookkeeping of deliveries) is not in these counts: attempts are run here as the
Celery task runs them, without Celery.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from importlib.resources import files
from typing import Any

import pytest
from support import PrivateServer

from codeexec_magic import Client
from codeexec_magic.contract import ExecutionResult, Reason, Status, code_hash
from codeexec_magic.job import Job
from codeexec_magic.settings import Settings, WorkerSettings
from codeexec_magic.store.attempt_end import AttemptEnd
from codeexec_magic.store.scripts import source
from worker.attempt import Attempt
from worker.runtime import Runtime

CODE = "value = sum(range(100))\nprint(value)\n"


@pytest.fixture
def client(redis_server: PrivateServer) -> Iterator[Client]:
    """A client of an empty server, its connection and scripts warmed up."""
    with Client(redis_server.url, redis_server.backend_url, settings=Settings(max_queue=1_000_000)) as made:
        made.store.redis.flushall()
        made.submit("0", cache=False)
        made.store.redis.flushdb()
        yield made


@pytest.fixture(scope="module")
def runtime(redis_server: PrivateServer) -> Iterator[Runtime]:
    """A worker without Celery: sandbox and store, none of its periodic threads."""
    settings = WorkerSettings(slots=1, preload=("json",), required_isolation=0, free_disk_mb=1)
    made = Runtime(settings, redis_server.url, redis_server.backend_url)
    made.open("costs", 1)
    yield made
    made.sandbox.close()


def run(runtime: Runtime, job: Job) -> threading.Thread:
    """Run a job as its message would, beside the caller."""
    thread = threading.Thread(target=Attempt(runtime.context, job.id, 1).run)
    thread.start()
    return thread


def commands(client: Client, action: Callable[[], object]) -> dict[str, int]:
    """How often the server executed each command meanwhile, those inside scripts included."""
    redis: Any = client.store.redis
    redis.config_resetstat()
    action()
    stats = redis.info("commandstats")
    own = {"config|resetstat", "info"}
    return {name[8:]: int(stat["calls"]) for name, stat in stats.items() if name[8:] not in own}


def calls(action: Callable[[], object]) -> int:
    """How many functions this thread calls meanwhile, Python's and C's."""
    count = 0

    def note(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        action()
    finally:
        sys.setprofile(None)
    return count


def test_a_cell_takes_three_scripts(client: Client, runtime: Runtime) -> None:
    """From submit to result: one script to submit, one to begin, one to finish, and at most three blocking reads."""
    first = client.submit(CODE, cache=False)
    run(runtime, first).join()
    assert first.result(10).success
    runtime.results.flush()

    def one() -> None:
        job = client.submit(CODE, cache=False)
        thread = run(runtime, job)
        assert job.result(30).success
        thread.join()
        runtime.results.flush()

    seen = commands(client, one)
    assert seen["evalsha"] == 3
    assert seen["xread"] <= 3
    assert "eval" not in seen
    assert "script|load" not in seen
    # what Celery's own result costs: one SET and one PUBLISH
    assert seen["set"] == seen["publish"] == 1
    # everything, the work inside the scripts included; 64 when this was written
    assert sum(seen.values()) <= 80, seen


def test_a_cached_cell_takes_one_script(client: Client, runtime: Runtime) -> None:
    """A hit is one round trip beside Celery's result entry, and no queue is touched."""
    client.store.heartbeat("costs", ["code_execution"], runtime.sandbox.environment, {}, {})
    first = client.submit(CODE)
    run(runtime, first).join()
    assert first.result(10).success
    runtime.results.flush()

    def hit() -> None:
        assert client.submit(CODE).result(10).cached
        client.results.flush()

    seen = commands(client, hit)
    assert seen["evalsha"] == 1
    assert not {"xread", "lpush", "brpop"} & set(seen)
    assert sum(seen.values()) <= 40, seen


def test_a_queued_job_stays_small(client: Client) -> None:
    """Record, message and indexes of a small queued cell take less than 3 KB of the server, 2.3 when written."""
    redis: Any = client.store.redis
    before = redis.info("memory")["used_memory"]
    for number in range(1000):
        client.submit(f"{CODE}# {number}", cache=False)
    assert (redis.info("memory")["used_memory"] - before) / 1000 < 3000


def test_an_ended_job_stays_small(client: Client) -> None:
    """Record, events and indexes of a small cell that has ended take less than 9 KB, 7 when this was written.

    Four of them are the smallest block of a stream.
    """
    store = client.store
    redis: Any = store.redis
    before = redis.info("memory")["used_memory"]
    for number in range(300):
        job = client.submit(f"{CODE}# {number}", cache=False)
        store.begin(job.id, 1, "attempt", "worker")
        redis.brpop("code_execution")
        attempt_record = {"worker": "worker", "start": "2026", "end": "2026", "reason": "ok", "verdict": ""}
        result = ExecutionResult(
            task_id=job.id,
            code_hash=code_hash(CODE),
            success=True,
            status=Status.SUCCEEDED,
            reason=Reason.OK,
            attempts=(attempt_record,),
        )
        event = {"type": "stream", "name": "stdout", "text": "4950\n"}
        how = {"attempt_record": attempt_record, "status": Status.SUCCEEDED, "result": result, "events": [event]}
        assert store.finish(job.id, "attempt", AttemptEnd("end", Reason.OK, **how)) == ("ended", [])
    assert (redis.info("memory")["used_memory"] - before) / 300 < 9000


def test_a_submission_calls_little(client: Client) -> None:
    """One submission makes fewer than a thousand function calls in the kernel, 690 when this was written."""
    client.submit(CODE, cache=False)
    assert calls(lambda: client.submit(CODE, cache=False)) < 1000


def test_scripts_stay_short() -> None:
    """Each script with what all share stays under 24 KB: the server compiles it once per restart and keeps it."""
    names = [path.name for path in files("codeexec_magic.store").joinpath("lua").iterdir()]
    sizes = {name: len(source(name.removesuffix(".lua"))) for name in names if name != "common.lua"}
    assert len(sizes) >= 10
    assert max(sizes.values()) < 24_000, sizes


@pytest.mark.parametrize("waiting", [0, 2000])
def test_a_long_queue_costs_no_commands(client: Client, waiting: int) -> None:
    """A submission makes the server do the same whether the queue is empty or long."""
    for _ in range(waiting):
        client.submit(CODE, cache=False)
    seen = commands(client, lambda: client.submit(CODE, cache=False))
    assert sum(seen.values()) <= 20, seen
