"""Many jobs, many killed workers, several broker crashes: what is lost, what is doubled, how long recovery takes.

    python benchmarks/chaos.py --jobs 1000 --kills 100 --broker-restarts 5

The workers, the server and the ledger are those of the chaos suite; the settings of lease and supervision are the
defaults of a deployment unless ``--lease`` says otherwise.
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
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / "tests"), str(Path(__file__).parents[1] / "tests" / "chaos")]

from harness import Cluster  # noqa: E402

from codeexec_magic.contract import Status  # noqa: E402
from codeexec_magic.errors import ClusterError  # noqa: E402
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
    parser.add_argument("--pause", type=float, default=2.5, help="mean seconds between kills")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    env = {"CODEEXEC_LEASE_S": str(options.lease), "CODEEXEC_MAX_CRASHES": "1000"}
    with Cluster(slots=options.slots, workers=options.workers, env=env) as cluster:
        return judge(cluster, *storm(cluster, options), options)


def storm(cluster: Cluster, options: argparse.Namespace) -> tuple[list[Job], list[tuple[int, float]], float]:
    """Submit everything, then kill at seeded moments until it has ended.

    Returns:
        The jobs; pid and time of every kill; how long all of it took.
    """
    rng = random.Random(options.seed)
    began = time.monotonic()
    jobs = [
        cluster.client.submit(f"import time; time.sleep({rng.uniform(0.1, 0.8):.2f}); {number}", cache=False)
        for number in range(options.jobs)
    ]
    kills: list[tuple[int, float]] = []
    restarts = 0
    while len(kills) < options.kills:
        time.sleep(rng.uniform(0, 2 * options.pause))
        done = terminal(cluster)
        if done >= options.jobs:
            break
        if restarts < options.broker_restarts and len(kills) >= (restarts + 1) * options.kills // (
            options.broker_restarts + 1
        ):
            # what is younger than the last sync of the append-only file would be lost with any setting but "always"
            cluster.client.store.redis.execute_command("WAITAOF", 1, 0, 5000)
            cluster.server.kill()
            time.sleep(rng.uniform(0.2, 2.0))
            cluster.server.start()
            restarts += 1
        pid = victim(cluster, rng)
        if pid is not None:
            kills.append((pid, time.monotonic()))
            os.kill(pid, signal.SIGKILL)
            print(
                f"\r{done} of {options.jobs} ended, {len(kills)} kills, {restarts} broker restarts", end="", flush=True
            )
    for job in jobs:
        job.result(900)
    print()
    return jobs, kills, time.monotonic() - began


def victim(cluster: Cluster, rng: random.Random) -> int | None:
    """The main process of a worker that runs a cell now, by the ledger and the process table."""
    ended = {line[2] for line in cluster.lines() if line[0] == "end"}
    busy = {int(line[3]) for line in cluster.lines() if line[0] == "start" and line[2] not in ended}
    alive = sorted(busy & set(cluster.worker_pids()))
    return rng.choice(alive) if alive else None


def terminal(cluster: Cluster) -> int:
    """Outcomes recorded so far, by the store's own counters."""
    try:
        counters = cluster.client.store.redis.hgetall("codeexec:default:counters")
    except (ClusterError, ConnectionError, OSError):
        return 0
    return sum(int(value) for name, value in counters.items() if name.startswith("ended:"))


def judge(
    cluster: Cluster, jobs: list[Job], kills: list[tuple[int, float]], seconds: float, options: argparse.Namespace
) -> int:
    """Print the figures from the ledger."""
    states = Counter(job.state().status for job in jobs)
    starts = cluster.starts_by_job()
    recorded = terminal(cluster)
    recoveries = sorted(recovery_times(cluster, kills))
    lost = len(jobs) - sum(count for status, count in states.items() if status.terminal)
    doubled = recorded - len(jobs)
    extra = sum(starts.values()) - len(jobs)
    orphans = [line for pid, line in cluster.leftovers().items() if "SANDBOX" in line]
    print(f"{len(jobs)} jobs, {len(kills)} workers killed, {options.broker_restarts} broker restarts, {seconds:.0f} s")
    print(f"outcomes: {', '.join(f'{count} {status}' for status, count in states.items())}")
    print(
        f"lost {lost}, recorded twice {doubled}, starts beyond the first {extra} (at most {len(kills) * options.slots})"
    )
    if recoveries:
        middle = statistics.median(recoveries)
        cells = f"p50 {middle:.1f} s, max {recoveries[-1]:.1f} s ({len(recoveries)} cells)"
        print(f"a killed worker's cells ran again after: {cells}")
    good = lost == 0 and doubled == 0 and states[Status.SUCCEEDED] == len(jobs) and not orphans
    return 0 if good and extra <= len(kills) * options.slots else 1


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
