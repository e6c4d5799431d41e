"""Thousands of short cells from several clients: whether descriptors, threads, connections and memory stay flat.

    python -m benchmarks.soak --cells 5000 --clients 4

Every client is a process of its own. What ended is kept for ``--keep`` seconds instead of an hour, so that the server
forgets as much as it learns once the warm-up is over. Prints the level and the slope of everything that is sampled,
per 1,000 cells with twice its standard error, then waits until the server has forgotten all jobs; ends with exit
status 1 if anything grows.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.process import BaseProcess

import psutil

from benchmarks.stand import Stand, wait_for
from codeexec_magic import Client
from codeexec_magic.settings import Settings

#: the first part of the cells fills caches, pools and the store; what comes after it must not grow
WARM_UP = 0.3
#: growth per 1,000 cells that is none: part of the level, and units (descriptors, threads, MB)
SHARE, UNITS = 0.01, 0.5
#: what a client runs in turn: a value, output, a table, an error, a cell that is cached, one that is cancelled
CELLS = (
    "{n}",
    "print('line', {n}); {n}",
    "import pandas as pd; pd.DataFrame({{'x': [{n}]}})",
    "raise ValueError({n})",
    "'the same for everybody'",
    "import time; time.sleep(5); {n}",
)


@dataclass
class Track:
    """One figure over the number of cells that had ended."""

    ended: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def add(self, ended: float, value: float) -> None:
        """Take one sample."""
        self.ended.append(ended)
        self.values.append(value)

    @property
    def slope(self) -> float:
        """Growth per 1,000 cells after the warm-up."""
        return 1000 * statistics.linear_regression(self.ended, self.values).slope

    @property
    def doubt(self) -> float:
        """Twice the standard error of the slope: what is sampled in the middle of work goes up and down with it."""
        line = statistics.linear_regression(self.ended, self.values)
        rest = [value - line.slope * at - line.intercept for at, value in zip(self.ended, self.values, strict=True)]
        spread = statistics.pstdev(self.ended) * len(self.ended) ** 0.5
        return 2 * 1000 * statistics.pstdev(rest) / spread

    @property
    def flat(self) -> bool:
        """Whether it does not grow, as far as the samples can tell."""
        return self.slope <= max(UNITS, SHARE * statistics.fmean(self.values), self.doubt)


Tracks = dict[tuple[str, str], Track]


def main() -> int:
    """Run, print the slopes; exit status 1 if something grows or a cell had no outcome."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=5000)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--keep", type=float, default=10.0, help="seconds that results and cached answers are kept")
    parser.add_argument("--every", type=float, default=1.0, help="seconds between two samples")
    options = parser.parse_args()
    os.environ |= {name: str(options.keep) for name in ("CODEEXEC_RESULT_TTL_S", "CODEEXEC_CACHE_TTL_S")}
    began = time.monotonic()
    with Stand() as stand:
        share = options.cells // options.clients
        context = get_context("spawn")  # a fork would share the memory that is measured
        where = (stand.server.url, stand.server.backend_url)
        clients = [context.Process(target=load, args=(*where, n, share)) for n in range(options.clients)]
        for client in clients:
            client.start()
        tracks = watch(stand, clients, options)
        for client in clients:
            client.join()
        count = ended(stand)
        failed = [client.exitcode for client in clients if client.exitcode]
        print(f"{count} outcomes of {share * options.clients} cells in {time.monotonic() - began:.0f} s")
        print(table(tracks))
        wait_for(lambda: not remembered(stand), options.keep + 60, "the end of everything that was kept")
        print(f"keys about jobs {options.keep:g} s later: {remembered(stand)}")
    return 0 if count == share * options.clients and not failed and all(one.flat for one in tracks.values()) else 1


def load(url: str, backend: str, number: int, cells: int) -> None:
    """One client: submits its cells one after the other and reads every answer."""
    with Client(url, backend, settings=Settings.from_env()) as client:
        for n in range(cells):
            code = CELLS[n % len(CELLS)].format(n=number * cells + n)
            job = client.submit(code)
            if "sleep" in code:
                job.cancel()
            job.result(120)


def ended(stand: Stand) -> int:
    """Outcomes so far, by the store's counters."""
    counters = stand.client.store.redis.hgetall("codeexec:default:counters")
    return sum(int(value) for name, value in counters.items() if name.startswith("ended:"))


def remembered(stand: Stand) -> int:
    """Keys in the server that name a job, and entries of the indexes that do."""
    store, prefix = stand.client.store.redis, stand.client.store.prefix
    kinds = [f"{prefix}{kind}:*" for kind in ("job", "events", "followers", "cache", "inflight")]
    keys = sum(1 for kind in kinds for _ in store.scan_iter(kind, count=1000))
    results = sum(1 for _ in stand.client.results.redis.scan_iter("celery-task-meta-*", count=1000))
    return keys + results + sum(store.zcard(f"{prefix}{index}") for index in ("jobs", "finished", "running"))


def watch(stand: Stand, clients: list[BaseProcess], options: argparse.Namespace) -> Tracks:
    """Samples from the end of the warm-up until the first client is done."""
    tracks: Tracks = defaultdict(Track)
    server = [psutil.Process(stand.server.process.pid)]
    while all(client.is_alive() for client in clients):
        time.sleep(options.every)
        count = ended(stand)
        if count < WARM_UP * options.cells or not all(client.is_alive() for client in clients):
            continue
        groups = {
            **lasting(stand),
            "clients": [psutil.Process(client.pid) for client in clients],
            "server": server,
        }
        for who, processes in groups.items():
            for what, value in measured(processes).items():
                tracks[who, what].add(count, value)
        about = stand.client.store.redis.info()
        tracks["server", "clients connected"].add(count, about["connected_clients"])
        tracks["server", "memory in use, MB"].add(count, about["used_memory"] / 2**20)
    return tracks


def lasting(stand: Stand) -> dict[str, list[psutil.Process]]:
    """The worker's processes that outlive a cell."""
    top = psutil.Process(stand.supervisor.pid)
    celery = top.children()
    launcher = [child for one in celery for child in one.children()]
    return {"worker": [top, *celery], "sandbox": [*launcher, *(child for one in launcher for child in one.children())]}


def measured(processes: Iterable[psutil.Process]) -> dict[str, float]:
    """Sums over processes."""
    sums: dict[str, float] = defaultdict(float)
    for process in processes:
        sums["processes"] += 1
        sums["descriptors"] += process.num_fds()
        sums["threads"] += process.num_threads()
        sums["connections"] += len(process.net_connections("all"))
        sums["memory (PSS), MB"] += process.memory_full_info().pss / 2**20
    return sums


def table(tracks: Tracks) -> str:
    """One line for everything that was sampled."""
    lines = [f"{'':28}{'first':>10}{'last':>10}{'per 1,000':>12}{'+-':>10}"]
    for (who, what), track in tracks.items():
        figures = f"{track.values[0]:10.1f}{track.values[-1]:10.1f}{track.slope:+12.2f}{track.doubt:10.2f}"
        lines.append(f"{who + ' ' + what:28}{figures}  {'flat' if track.flat else 'GROWS'}")
    samples = len(next(iter(tracks.values())).values)
    return "\n".join([*lines, f"{samples} samples after the first {WARM_UP:.0%} of the cells"])


if __name__ == "__main__":
    sys.exit(main())
