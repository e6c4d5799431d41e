"""Run the benchmarks: ``python -m benchmarks [--quick] [PART ...]``.

Prints a table of the figures beside their targets; ``--json`` and ``--plot`` write the same to files.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from benchmarks import parts, report
from benchmarks.stand import ROOT, Stand


def main() -> int:
    """Measure what was asked for and print it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"any of {', '.join(parts.ALL)}; default: all")
    parser.add_argument("--quick", action="store_true", help="few rounds: a look, not a measurement")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every series here")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the round trips here (needs the part idle)")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(parts.ALL):
        parser.error(f"no part {', '.join(sorted(unknown))}: there are {', '.join(parts.ALL)}")
    chosen = [name for name in parts.ALL if name in options.parts or not options.parts]
    about, found = report.machine(), {}
    with Stand() as stand:
        level = stand.client.workers()[0].about.get("isolation")
        for name in chosen:
            print(f"{time.strftime('%H:%M:%S')} {name} ...", file=sys.stderr, flush=True)
            found[name] = parts.ALL[name](stand, options.quick)
            made = list(report.rows(found))
            if options.json:
                report.save(options.json, about, found, made)  # after every part: an interrupted run has told something
    print(f"isolation level {level}; " + "; ".join(f"{key} {value}" for key, value in about.items()) + "\n")
    print(report.table(made))
    if options.plot and "idle" in found:
        report.plot(options.plot, found["idle"])
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
