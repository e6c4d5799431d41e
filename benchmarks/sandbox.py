"""The sandbox alone, without broker or Celery: ``python -m benchmarks.sandbox [--rounds N]``.

Prints, from one run and in turns, a cell in a standby, a cell whose sandbox has to be made first, and what a careful
user would write by hand; then how many fresh sandboxes two slots give in a second, and what the parked ones hold.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import replace

import psutil

from benchmarks.peers import BWRAP, IMPORTS
from benchmarks.timing import Ratio, Series, in_turns
from codeexec_magic.limits import Limits
from worker.memory_usage import together_mb
from worker.sandbox import Cell, Sandbox

SLOTS = 2
STANDBY, COLD, BARE, IMPORTING, WRAPPED = (
    "standby",
    "cold",
    "python -I -c pass",
    "python that imports",
    "bubblewrap + python",
)
#: a file system of its own, so that no standby fits
_OWN = replace(Limits(), disk_mb=Limits().disk_mb - 1)
#: what beside what, and what the ratio of the medians should be at most
_TARGETS = (
    (STANDBY, BARE, 0.25),
    (COLD, BARE, 1.5),
    (STANDBY, IMPORTING, 0.01),
    (COLD, WRAPPED, None),
)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sandbox", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each (default 5)")
    rounds = parser.parse_args().rounds
    with Sandbox(slots=SLOTS) as sandbox:
        print(f"isolation level {sandbox.report['level']}, memory by {sandbox.report['memory_limit']}")
        series = trips(sandbox, rounds)
        for one in series.values():
            print(f"{one.name:22} p50 {one.p50:8.2f} ms   p95 {one.p95:8.2f} ms")
        for name, peer, target in _TARGETS:
            if peer in series:
                ratio = Ratio.of(series[name], series[peer])
                print(f"{name} / {peer}: {ratio}" + (f", target <= {target}" if target else ""))
        tail = series[STANDBY].p95 / series[BARE].p50
        print(f"p95 of {STANDBY} / p50 of {BARE}: {tail:.2g} x, target <= 1")
        print(f"fresh sandboxes: {per_second(sandbox, rounds):.0f}/s on {SLOTS} slots, target >= 100/s")
        print(f"zygote and parked sandboxes: {parked_mb(sandbox):.0f} MB PSS, target <= 200 MB")
    return 0


def trips(sandbox: Sandbox, rounds: int) -> dict[str, Series]:
    """Round trips, all in turns."""
    calls = {
        STANDBY: lambda: run(sandbox, Limits()),
        COLD: lambda: run(sandbox, _OWN),
        BARE: lambda: subprocess.run([sys.executable, "-I", "-c", "pass"], check=True),
        IMPORTING: lambda: subprocess.run([sys.executable, "-c", f"{IMPORTS}\n1+1"], check=True),
    }
    if shutil.which("bwrap"):
        command = [*BWRAP, sys.executable, "-I", "-c", "pass"]
        calls[WRAPPED] = lambda: subprocess.run(command, check=True)
    else:
        print("bwrap is not installed: without it", file=sys.stderr)
    return in_turns(calls, rounds, {**dict.fromkeys(calls, 20), IMPORTING: 1}, gap_s=0.05)


def run(sandbox: Sandbox, limits: Limits) -> None:
    """One cell, run by IPython with the libraries loaded."""
    outcome = sandbox.run(Cell("bench", "1+1", limits)).wait()
    assert outcome.success, outcome


def per_second(sandbox: Sandbox, rounds: int) -> float:
    """Cells per second with every slot kept busy: the median of the rounds."""
    rates = []
    for _ in range(rounds):
        threads = [threading.Thread(target=lambda: [run(sandbox, Limits()) for _ in range(50)]) for _ in range(SLOTS)]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        rates.append(50 * SLOTS / (time.perf_counter() - began))
    return statistics.median(rates)


def parked_mb(sandbox: Sandbox) -> float:
    """Memory of namespace server, zygote and idle standbys: shared pages count once, the heap's file whole."""
    time.sleep(1.0)  # standbys that have nothing to do take more pages
    return together_mb(process.pid for process in psutil.Process(sandbox.pid).children(recursive=True))


if __name__ == "__main__":
    sys.exit(main())
