"""Many jobs, many killed workers, several broker crashes: what is lost, what is doubled, how long recovery takes.

    python benchmarks/chaos.py --jobs 1000 --kills 100 --broker-restarts 5

The workers, the server and the ledger are those of the chaos suite; the lease is the default of a deployment unless
``--lease`` says otherwise, and no number of deaths makes a job a poison pill here. Kills and restarts are spread over
the jobs' progress by the seed, so that all of them happen, however fast the machine is.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil
import redis

sys.path[:0] = [str(Path(__file__).parents[1] / "tests"), str(Path(__file__).parents[1] / "tests" / "chaos")]

from harness import Cluster  # noqa: E402

from codeexec_magic.contract import Status  # noqa: E402
from codeexec_magic.job import Job  # noqa: E402


def main() -> int:
    """Run, print the figures; exit status 1 if anything was lost or doubled."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--broker-restarts", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--lease", type=float, default=8.0)
    parser.add_argument("--patience", type=float, default=900.0, help="seconds without any progress that end the run")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    env = {"CODEEXEC_LEASE_S": str(options.lease), "CODEEXEC_MAX_CRASHES": "100000"}
    with Cluster(slots=options.slots, workers=options.workers, env=env) as cluster:
        storm = Storm(cluster, options)
        storm.run()
        return judge(storm)


class Storm:
    """Submits everything, then kills at seeded points of the progress until it has ended."""

    def __init__(self, cluster: Cluster, options: argparse.Namespace) -> None:
        self.cluster, self.options = cluster, options
        self.jobs: list[Job] = []
        self.kills: list[tuple[int, float]] = []  #: pid and time of each
        self.families: list[psutil.Process] = []  #: what the killed workers had started
        self.restarts = 0
        self.seconds = 0.0
        self._rng = random.Random(options.seed)

    def run(self) -> None:
        """All of it.

        Raises:
            TimeoutError: nothing went on for longer than the patience.
        """
        rng, options = self._rng, self.options
        began = time.monotonic()
        for number in range(options.jobs):
            code = f"import time; time.sleep({rng.uniform(0.1, 0.8):.2f}); {number}"
            self.jobs.append(self.cluster.client.submit(code, cache=False))
        # the last tenth is left alone: at its very end there may be nobody left to kill
        acts = [(rng.uniform(0, 0.9 * options.jobs), self.kill) for _ in range(options.kills)]
        acts += [(rng.uniform(0, 0.9 * options.jobs), self.restart) for _ in range(options.broker_restarts)]
        for due, act in sorted(acts, key=lambda one: one[0]):
            self.wait(lambda due=due: ended(self.cluster) >= due)
            act()
        self.wait(lambda: ended(self.cluster) >= options.jobs)
        print()
        self.seconds = time.monotonic() - began

    def wait(self, condition: Callable[[], object]) -> None:
        """Until it holds; the patience begins anew with every outcome."""
        last, since = -1, time.monotonic()
        while not condition():
            if (now := ended(self.cluster)) != last:
                last, since = now, time.monotonic()
            if time.monotonic() - since > self.options.patience:
                raise TimeoutError(f"no outcome for {self.options.patience:g} s, {last} so far\n{self.cluster.log()}")
            time.sleep(0.02)

    def kill(self) -> None:
        """Kill -9 of the main process of a worker that runs a cell."""
        found: list[int] = []
        while not found:
            self.wait(lambda: found.extend(victims(self.cluster)) or found)
            pid = self._rng.choice(found)
            try:
                family = psutil.Process(pid).children(recursive=True)
                os.kill(pid, signal.SIGKILL)
            except (psutil.NoSuchProcess, ProcessLookupError):
                found.clear()  # it died by itself: a restart of the server does that
        self.families += family
        self.kills.append((pid, time.monotonic()))
        told = f"{ended(self.cluster)} of {len(self.jobs)} ended, {len(self.kills)} kills, {self.restarts} restarts"
        print(f"\r{told}", end="", flush=True)

    def restart(self) -> None:
        """Kill -9 of the server, and a new one after a while."""
        # what is younger than the last sync of the append-only file would be lost with any setting but "always"
        self.cluster.client.store.redis.execute_command("WAITAOF", 1, 0, 5000)
        self.cluster.server.kill()
        time.sleep(self._rng.uniform(0.2, 2.0))
        self.cluster.server.start()
        self.restarts += 1


def victims(cluster: Cluster) -> list[int]:
    """Main processes of the workers that run a cell now, by the ledger and the process table."""
    lines = cluster.lines()
    over = {line[2] for line in lines if line[0] == "end"}
    busy = {int(line[3]) for line in lines if line[0] == "start" and line[2] not in over}
    return sorted(busy & set(cluster.worker_pids()))


def ended(cluster: Cluster) -> int:
    """Outcomes recorded so far, by the store's own counters; -1 while the server does not answer."""
    try:
        counters = cluster.client.store.redis.hgetall("codeexec:default:counters")
    except (redis.RedisError, OSError):
        return -1
    return sum(int(value) for name, value in counters.items() if name.startswith("ended:"))


def judge(storm: Storm) -> int:
    """Print the figures from the ledger, the records and the streams."""
    cluster, options, jobs = storm.cluster, storm.options, storm.jobs
    states = Counter(job.state().status for job in jobs)
    ends = [sum(event["type"] == "end" for event in cluster.client.store.events(job.id)) for job in jobs]
    starts = cluster.starts_by_job()
    recoveries = sorted(recovery_times(cluster, storm.kills))
    lost = len(jobs) - sum(count for status, count in states.items() if status.terminal)
    doubled = max(ended(cluster) - len(jobs), sum(count > 1 for count in ends))
    never_run = sum(job.id not in starts for job in jobs)
    extra = sum(starts.values()) - len(jobs)
    # a kill cuts what the worker runs; a server that crashes may forget a begin that was not yet on its disk
    bound = (len(storm.kills) + storm.restarts * options.workers) * options.slots
    orphans = [one for one in storm.families if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    print(
        f"{len(jobs)} jobs, {len(storm.kills)} workers killed, {storm.restarts} broker crashes, {storm.seconds:.0f} s"
    )
    print(f"outcomes: {', '.join(f'{count} {status}' for status, count in states.items())}")
    print(f"lost {lost}, recorded twice {doubled}, never started {never_run}, orphaned processes {len(orphans)}")
    print(f"starts beyond the first {extra} (at most {bound})")
    if recoveries:
        middle = statistics.median(recoveries)
        cells = f"p50 {middle:.1f} s, max {recoveries[-1]:.1f} s ({len(recoveries)} cells)"
        print(f"a killed worker's cells ran again after: {cells}")
    good = states[Status.SUCCEEDED] == len(jobs) and not (lost or doubled or never_run or orphans) and extra <= bound
    return 0 if good else 1


def recovery_times(cluster: Cluster, kills: list[tuple[int, float]]) -> list[float]:
    """From each kill to the next start of every cell that was running on the killed worker."""
    killed = dict(kills)
    runs: dict[str, list[tuple[str, float]]] = {}
    ended = {line[2] for line in cluster.lines() if line[0] == "end"}
    cut: list[tuple[str, float]] = []
    for word, task_id, attempt, pid, moment in cluster.lines():
        if word != "start":
            continue
        runs.setdefault(task_id, []).append((attempt, float(moment)))
        if int(pid) in killed and attempt not in ended:
            cut.append((task_id, killed[int(pid)]))
    return [min(later) - at for task_id, at in cut if (later := [when for _, when in runs[task_id] if when > at])]


if __name__ == "__main__":
    sys.exit(main())
