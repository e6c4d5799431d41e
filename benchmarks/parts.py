"""What is measured of ours, part by part. Every part takes the stand and returns its series by name."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from benchmarks import kernel, peers
from benchmarks.stand import SLOTS, Stand, stop, wait_for
from benchmarks.timing import Call, Series, in_turns, timed
from codeexec_magic import Client
from codeexec_magic.store.monitor import read
from worker.memory_usage import together_mb

Results = dict[str, Series]

CELL = "1+1"
HEAVY = "import numpy as np, pandas as pd\npd.DataFrame({'x': np.arange(1000)}).describe()"
OURS = "a cell"


def idle(stand: Stand, quick: bool) -> Results:
    """One cell at a time with a pause between, beside every peer."""
    with peers.opened(stand, list(peers.ALL)) as calls:
        calls = {OURS: lambda: stand.client.submit(CELL, cache=False).result(60), **calls}
        each = {name: 1 if name in peers.SLOW else 20 for name in calls}
        return in_turns(calls, 3 if quick else 8, each, gap_s=0.05)


def busy(stand: Stand, quick: bool) -> Results:
    """One cell after the other without a pause."""
    names = [name for name in peers.ALL if name not in peers.SLOW]
    with peers.opened(stand, names) as calls:
        calls = {OURS: lambda: stand.client.submit(CELL, cache=False).result(60), **calls}
        return in_turns(calls, 3 if quick else 8, 20, gap_s=0)


def heavy(stand: Stand, quick: bool) -> Results:
    """A cell that imports numpy and pandas and shows a table; the peer is a new interpreter with the same lines."""
    calls = {
        OURS: lambda: stand.client.submit(HEAVY, cache=False).raise_for_status(60),
        "subprocess": lambda: subprocess.run([sys.executable, "-c", HEAVY], check=True),
    }
    return in_turns(calls, 3 if quick else 10, {OURS: 10, "subprocess": 1}, gap_s=0.05)


def cached(stand: Stand, quick: bool) -> Results:
    """The same cell again; the peer is one PING on the same connection."""
    stand.client.submit("40+2").raise_for_status(60)

    def hit() -> None:
        result = stand.client.submit("40+2").result(10)
        assert result.cached

    return in_turns({"a cached cell": hit, "a PING": stand.client.store.redis.ping}, 3 if quick else 10, 100, gap_s=0)


def throughput(stand: Stand, quick: bool) -> Results:
    """Many cells at once on two slots, against Celery's no-op task on two threads."""
    count = 100 if quick else 200
    client = stand.client

    def ours() -> float:
        began = time.perf_counter()
        jobs = [client.submit(CELL, cache=False) for _ in range(count)]
        for job in jobs:
            job.raise_for_status(120)
        return count / (time.perf_counter() - began)

    def theirs() -> float:
        began = time.perf_counter()
        answers = [peers.noop.noop.delay() for _ in range(count)]
        for answer in answers:
            answer.get(120)
        return count / (time.perf_counter() - began)

    cells, tasks = Series("cells", "/s"), Series("Celery no-op", "/s")
    with peers.opened(stand, ["Celery no-op"]):
        for _ in range(2 if quick else 4):
            cells.rounds.append([ours()])
            tasks.rounds.append([theirs()])
    return {cells.name: cells, tasks.name: tasks}


def backlog(stand: Stand, quick: bool) -> Results:
    """Submitting with and without a hundred thousand waiting jobs, how fast one client fills the queue, and bytes."""
    full, empty = stand.keep_server("full"), stand.keep_server("empty")
    count = 5_000 if quick else 100_000
    with full.client() as crowded, empty.client() as lonely:
        before = _used(crowded)
        rates = Series("submit", "/s")
        for _ in range(10):
            milliseconds = timed(lambda: [crowded.submit(CELL, cache=False) for _ in range(count // 10)])
            rates.rounds.append([count / 10 / milliseconds * 1000])
        waiting = Series("waiting", "jobs", [[count]])
        size = Series("queued job", "bytes", [[(_used(crowded) - before) / count]])
        delay = Series("Celery delay", "/s")
        peers.noop.app.conf.update(broker_url=stand.server.url, result_backend=stand.server.backend_url)
        for _ in range(5):
            taken = timed(lambda: [peers.noop.noop.apply_async(queue="nobody") for _ in range(200)])
            delay.rounds.append([200_000 / taken])
        rounds = 3 if quick else 10
        pairs = {
            "submit, full": lambda: crowded.submit(CELL, cache=False),
            "submit, empty": lambda: lonely.submit(CELL, cache=False),
        }
        submit = in_turns(pairs, rounds, 100, gap_s=0)
        for _ in range(50):
            lonely.submit(CELL, cache=False)
        pairs = {"panel, full": lambda: _panel(crowded), "panel, empty": lambda: _panel(lonely)}
        panel = in_turns(pairs, rounds, 5, gap_s=0)
    stop(full.process)
    return {**submit, **panel, **{series.name: series for series in (rates, size, delay, waiting)}}


def _used(client: Client) -> int:
    return int(client.store.redis.info("memory")["used_memory"])


def _panel(client: Client) -> None:
    """One refresh of the panel."""
    read(client.store)


def streaming(stand: Stand, quick: bool) -> Results:
    """From ``print`` in the cell to the event at the client: the cell prints its clock, which is ours too."""
    code = f"import time\nfor _ in range({20 if quick else 60}):\n    print(time.time())\n    time.sleep(0.033)"
    seen = Series("print to client")
    for _ in range(2 if quick else 5):
        late = []
        for line in stand.client.submit(code, cache=False).stream():
            late.append((time.time() - float(line)) * 1000)
        seen.rounds.append(late)
    return {seen.name: seen}


def notebook(stand: Stand, quick: bool) -> Results:
    """In a real kernel: the magic, the same through the client, and prints on their way to the front end."""
    return kernel.measure(stand, rounds=3 if quick else 10, each=10)


def memory(stand: Stand, _quick: bool) -> Results:
    """PSS of every process of an idle worker: shared pages are divided among those who share them.

    What nobody has mapped of the zygote's heap, a file in memory, counts as well.
    """
    time.sleep(2)
    found = {}
    processes = stand.worker_processes()
    for process in processes:
        with contextlib.suppress(psutil.Error):
            name = f"{_role(process, stand.supervisor.pid)} {process.pid}"
            found[name] = Series(name, "MB", [[process.memory_full_info().pss / 2**20]])
    total = together_mb(process.pid for process in processes)
    unmapped = total - sum(series.p50 for series in found.values())
    found["sandboxes file"] = Series("sandboxes file", "MB", [[unmapped]])
    return {"worker": Series("worker", "MB", [[total]]), **found}


def _role(process: psutil.Process, top: int) -> str:
    """What a process is, by its place in the tree."""
    depth = [process.pid, *(parent.pid for parent in process.parents())].index(top)
    return ("supervisor", "Celery", "launcher")[depth] if depth < 3 else "sandboxes"


def commands(stand: Stand, quick: bool) -> Results:
    """What the server executes for one cell, without what it executes for an idle worker in the same time."""
    redis, count = stand.client.store.redis, 40 if quick else 200

    def one() -> None:
        for _ in range(count):
            stand.client.submit("x = 1", cache=False).result(60)

    def stats(action: Call) -> tuple[Counter[str], float]:
        before, began = Counter(_calls(redis)), time.monotonic()
        action()
        return Counter(_calls(redis)) - before, time.monotonic() - began

    busy, seconds = stats(one)
    idle, pause = stats(lambda: time.sleep(5))
    found = {}
    for name, calls in busy.items():
        per_cell = (calls - idle[name] * seconds / pause) / count
        if per_cell >= 0.05:
            found[name] = Series(name, "calls", [[per_cell]])
    return found


def _calls(redis: Any) -> dict[str, int]:
    """Commands that came over a connection: a script counts as one."""
    seen = {name[8:]: stat["calls"] for name, stat in redis.info("commandstats").items()}
    return {name: seen.get(name, 0) for name in ("evalsha", "xread", "set", "publish", "brpop", "exec", "subscribe")}


def start(_stand: Stand, quick: bool) -> Results:
    """From a new interpreter to the first result on an embedded cluster that did not exist; then with it running."""
    program = "from codeexec_magic import Client\nprint(Client().submit('1+1', cache=False).result(60).success)"
    first, again = Series("embedded, from nothing"), Series("embedded, running")
    plain = Series("subprocess")
    for _ in range(1 if quick else 3):
        with _home() as env:
            for series in (first, again):
                series.rounds.append([_run_time([sys.executable, "-P", "-c", program], env)])
            stopping = [sys.executable, "-P", "-c", "from codeexec_magic import local; local.stop()"]
            subprocess.run(stopping, env=env, check=True)
        plain.rounds.append([_run_time(peers.PYTHON, None)])
    return {series.name: series for series in (first, again, plain)}


def _run_time(command: list[str], env: dict[str, str] | None) -> float:
    return timed(lambda: subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL))


@contextlib.contextmanager
def _home() -> Iterator[dict[str, str]]:
    folder = Path(tempfile.mkdtemp(prefix="cxb-"))
    hidden = ("CELERY_BROKER_URL", "CELERY_RESULT_BACKEND")
    env = {name: value for name, value in os.environ.items() if name not in hidden}
    yield {**env, "CODEEXEC_HOME": str(folder / "home"), "PYTHONPATH": str(Path(__file__).parents[1])}
    shutil.rmtree(folder, ignore_errors=True)


def recovery(stand: Stand, quick: bool) -> Results:
    """``kill -9`` of the worker's main process under two running cells: until they run again, and end once."""
    again = Series("kill -9 to next run", "s")
    for _ in range(1 if quick else 3):
        jobs = [stand.client.submit(f"import time; time.sleep(1); {n}", cache=False) for n in range(SLOTS)]
        wait_for(lambda jobs=jobs: all(job.state().attempt == 1 for job in jobs), 30, "the first run")
        main = psutil.Process(stand.supervisor.pid).children()[0]
        os.kill(main.pid, signal.SIGKILL)
        killed, taken = time.monotonic(), []
        for job in jobs:
            wait_for(lambda job=job: job.state().attempt == 2, 60, "the second run")
            taken.append(time.monotonic() - killed)
        for job in jobs:
            assert job.result(60).success
            assert sum(event["type"] == "end" for event in job.events()) == 1
        again.rounds.append(taken)
    return {again.name: again}


ALL = {
    "memory": memory,
    "commands": commands,
    "idle": idle,
    "busy": busy,
    "heavy": heavy,
    "cached": cached,
    "throughput": throughput,
    "streaming": streaming,
    "notebook": notebook,
    "backlog": backlog,
    "start": start,
    "recovery": recovery,
}

__all__ = ["ALL", "Results"]
