"""What a refresh of the queue panel costs with many jobs: ``python -m benchmarks.panel [--queued N] [--finished N]``.

The panel runs in a real kernel, without a front end; jobs are made by the store's own scripts on a private server.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

from jupyter_client.manager import start_new_kernel

from benchmarks.stand import Server
from codeexec_magic import Client
from codeexec_magic.contract import ExecutionRequest, ExecutionResult, Reason, Status, cache_key, code_hash
from codeexec_magic.store import JobStore
from codeexec_magic.store.attempt_end import AttemptEnd
from codeexec_magic.store.scripts import source

BATCH = 1000

#: runs in the kernel
_KERNEL = """
import json, time
from codeexec_magic.display.parent_cell import ParentCell
from codeexec_magic.panel.panel import Panel
from codeexec_magic.magics.remote_queue import Notebook
from codeexec_magic.magics.session import Session
from codeexec_magic.store.monitor import Query, read
from codeexec_magic.store.attempt_end import AttemptEnd
session = Session(get_ipython())
panel = Panel(ParentCell(get_ipython()), Notebook(session))
redis = session.client.store.redis
def scripts():
    return redis.info('commandstats')['cmdstat_evalsha']['calls']
panel.refresh(); panel.refresh()
figures = {'cpu_ms': [], 'wall_ms': [], 'read_ms': [], 'scripts': []}
for _ in range(ROUNDS):
    time.sleep(1)
    count, wall, cpu = scripts(), time.perf_counter(), time.process_time()
    panel.refresh()
    figures['cpu_ms'].append(1000 * (time.process_time() - cpu))
    figures['wall_ms'].append(1000 * (time.perf_counter() - wall))
    figures['scripts'].append(scripts() - count)
    wall = time.perf_counter()
    read(session.client.store, Query(samples=3))
    figures['read_ms'].append(1000 * (time.perf_counter() - wall))
panel.close()
print(json.dumps(figures))
"""


def fill(client: Client, queued: int, finished: int) -> None:
    """Finished jobs first, then those that wait."""
    store = client.store
    for start in range(0, finished, BATCH):
        for request in submit(store, min(BATCH, finished - start)):
            store.begin(request.task_id, 1, "a1", "w1")
            result = ExecutionResult(request.task_id, code_hash(request.code), True, Status.SUCCEEDED, Reason.OK)
            store.finish(request.task_id, "a1", AttemptEnd("end", Reason.OK, status=Status.SUCCEEDED, result=result))
    for start in range(0, queued, BATCH):
        submit(store, min(BATCH, queued - start))


def submit(store: JobStore, count: int) -> list[ExecutionRequest]:
    """Submissions in one pipeline."""
    requests = [ExecutionRequest(str(uuid.uuid4()), f"import math\nmath.sqrt({time.time_ns()})") for _ in range(count)]
    script = store.redis.register_script(source("submit"))
    pipe: Any = store.redis.pipeline(transaction=False)
    for one in requests:
        request = json.dumps(one.as_dict(), separators=(",", ":"))
        rest = (one.task_id, request, one.queue, "", "off", cache_key(one), 10_000_000, code_hash(one.code))
        script(args=(store.prefix, store.bare, *rest, 3_600_000, 3_600_000), client=pipe)
    pipe.execute()
    return requests


def submit_ms(client: Client, count: int) -> float:
    """Median of single submissions."""
    taken = []
    for i in range(count):
        start = time.perf_counter()
        client.submit(f"{i} + {time.time_ns()}", cache=False)
        taken.append(1000 * (time.perf_counter() - start))
    return statistics.median(taken)


def refreshes(server: Server, rounds: int) -> dict[str, list[float]]:
    """Refresh a panel in a kernel of its own, once a second."""
    env = {**os.environ, "CELERY_BROKER_URL": server.url, "CELERY_RESULT_BACKEND": server.backend_url}
    manager, kernel = start_new_kernel(env=env)
    said: list[str] = []

    def hear(message: Any) -> None:
        content = message["content"]
        if message["msg_type"] == "stream":
            said.append(content["text"])
        elif message["msg_type"] == "error":
            sys.exit("\n".join(content["traceback"]))

    try:
        kernel.execute_interactive(_KERNEL.replace("ROUNDS", str(rounds)), output_hook=hear, timeout=rounds * 2 + 120)
    finally:
        kernel.stop_channels()
        manager.shutdown_kernel(now=True)
    found: dict[str, list[float]] = json.loads("".join(said).splitlines()[-1])
    return found


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.panel", description=__doc__)
    parser.add_argument("--queued", type=int, default=100_000)
    parser.add_argument("--finished", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="cxbench-"))
    server = Server(directory, "panel")
    client = server.client()
    try:
        empty = submit_ms(client, 300)
        client.store.redis.flushall()
        fill(client, options.queued, options.finished)
        full = submit_ms(client, 300)
        figures = refreshes(server, options.rounds)
    finally:
        client.close()
        server.process.terminate()
        server.process.wait(20)
        shutil.rmtree(directory, ignore_errors=True)
    print(f"{options.queued} queued, {options.finished} finished; a refresh, once a second, {options.rounds} times:")
    for name, about in (("cpu_ms", "processor time of the kernel"), ("wall_ms", "wall time"), ("read_ms", "the read")):
        values = sorted(figures[name])
        p95 = values[round(0.95 * (len(values) - 1))]
        print(f"  {about:<30} p50 {statistics.median(values):6.2f} ms   p95 {p95:6.2f} ms")
    print(f"  round trips                    {max(figures['scripts'])}")
    print(f"submit: {empty:.2f} ms with an empty queue, {full:.2f} ms with this one: {full / empty:.2f} x")
    return 0


if __name__ == "__main__":
    sys.exit(main())
