"""The table, the JSON file and the plot, all from the same series."""

from __future__ import annotations

import json
import os
import platform
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.parts import OURS, Results
from benchmarks.timing import Ratio, Series
from codeexec_magic.local.server import find_binary

PACKAGES = (
    "codeexec-magic",
    "celery",
    "kombu",
    "redis",
    "ipython",
    "ipykernel",
    "ipyparallel",
    "rq",
    "numpy",
    "pandas",
)


@dataclass(frozen=True)
class Row:
    """One figure beside its target."""

    what: str
    measured: str
    compared: str
    target: str
    met: bool | None

    def cells(self) -> list[str]:
        """For the table."""
        return [self.what, self.measured, self.compared, self.target, {True: "yes", False: "**no**"}.get(self.met, "")]


def rows(found: Mapping[str, Results]) -> Iterator[Row]:
    """The figures of every part that ran."""
    for part, make in _PARTS.items():
        if part in found:
            yield from make(found[part])


def _idle(r: Results) -> Iterator[Row]:
    cell, task = r[OURS], r["Celery no-op"]
    ratio, tail = Ratio.of(cell, task), cell.p95 / task.p95
    measured = f"p50 {_ms(cell.p50)}, p95 {_ms(cell.p95)}"
    beside = f"{ratio} Celery no-op ({_ms(task.p50)})"
    yield _row("a cell, idle worker", measured, beside, "<= 2.5 x", ratio.middle <= 2.5)
    beside = f"{tail:.1f} x Celery's p95 ({_ms(task.p95)}), {cell.p95 / task.p50:.1f} x its p50"
    yield _row("its p95", _ms(cell.p95), beside, "<= 4 x", tail <= 4)
    for name, target, check in _PEERS:
        if name in r:
            yield _beside(cell, r[name], target, check)


def _beside(cell: Series, peer: Series, target: str, check: Callable[[float], bool] | None) -> Row:
    faster = peer.p50 > cell.p50
    ratio = Ratio.of(peer, cell) if faster else Ratio.of(cell, peer)
    shown = f"{ratio} {'faster than' if faster else 'the time of'} {peer.name} ({_ms(peer.p50)})"
    factor = Ratio.of(peer, cell).middle
    return _row(f"beside {peer.name}", _ms(cell.p50), shown, target, check(factor) if check else None)


_PEERS: list[tuple[str, str, Callable[[float], bool] | None]] = [
    ("subprocess", ">= 60 x faster", lambda factor: factor >= 60),
    ("bubblewrap", "", None),
    ("ipyparallel", "<= 2 x", lambda factor: 1 / factor <= 2),
    ("rq", "", None),
    ("process pool", "", None),
]


def _busy(r: Results) -> Iterator[Row]:
    for name in ("Celery no-op", "ipyparallel", "rq"):
        if name in r:
            ratio = Ratio.of(r[OURS], r[name])
            yield _row("a cell, without pauses", _ms(r[OURS].p50), f"{ratio} {name} ({_ms(r[name].p50)})", "", None)


def _heavy(r: Results) -> Iterator[Row]:
    ratio = Ratio.of(r["subprocess"], r[OURS])
    beside = f"{ratio} faster than a subprocess ({_ms(r['subprocess'].p50)})"
    yield _row("imports numpy, pandas, shows a table", _ms(r[OURS].p50), beside, "", None)


def _cached(r: Results) -> Iterator[Row]:
    hit, ping = r["a cached cell"], r["a PING"]
    measured = f"p50 {_ms(hit.p50)}, p95 {_ms(hit.p95)}"
    beside = f"{Ratio.of(hit, ping)} a PING ({_ms(ping.p50)})"
    yield _row("a cached cell", measured, beside, "p50 <= 1 ms", hit.p50 <= 1)


def _throughput(r: Results) -> Iterator[Row]:
    cells, tasks = r["cells"], r["Celery no-op"]
    beside = f"{Ratio.of(cells, tasks)} Celery no-op ({tasks.p50:.0f}/s)"
    yield _row("cells per second, 2 slots", f"{cells.p50:.0f}/s ({_span(cells)})", beside, ">= 100/s", cells.p50 >= 100)


def _streaming(r: Results) -> Iterator[Row]:
    seen = r["print to client"]
    yield _row("print -> event at the client", f"p50 {_ms(seen.p50)}, p95 {_ms(seen.p95)}", "", "", None)


def _notebook(r: Results) -> Iterator[Row]:
    magic, plain, seen = r["%%remote_exec"], r["client in the kernel"], r["print to front end"]
    more = [a - b for a, b in zip(magic.medians, plain.medians, strict=True)]
    middle = sorted(more)[len(more) // 2]
    beside = f"the client in the same kernel: {_ms(plain.p50)}"
    yield _row("`%%remote_exec` over `client.submit`", f"{_ms(middle)} more", beside, "<= 10 ms", middle <= 10)
    p95 = f"p50 {_ms(seen.p50)}, p95 {_ms(seen.p95)}"
    yield _row("print -> message at the front end", p95, "", "p95 <= 100 ms", seen.p95 <= 100)


def _memory(r: Results) -> Iterator[Row]:
    total = r["worker"].p50
    parts: Counter[str] = Counter()
    for name, one in r.items():
        parts[name.split()[0]] += round(one.p50) if name != "worker" else 0
    shown = ", ".join(f"{name} {size}" for name, size in parts.items() if size)
    yield _row("worker, idle, 2 slots, PSS", f"{total:.0f} MB", shown, "<= 250 MB", total <= 250)


def _commands(r: Results) -> Iterator[Row]:
    parts = ", ".join(f"{name} {one.p50:.1f}" for name, one in r.items() if name not in ("evalsha", "xread"))
    measured = f"{r['evalsha'].p50:.1f} scripts, {r['xread'].p50:.1f} reads"
    yield _row("round trips to Redis per cell", measured, f"beside them, Celery's: {parts}", "1 + 2 + 1", None)


def _backlog(r: Results) -> Iterator[Row]:
    rate, delay = r["submit"], r["Celery delay"]
    beside = f"Celery's delay: {delay.p50:.0f}/s"
    yield _row("submit rate, one client", f"{rate.p50:.0f}/s ({_span(rate)})", beside, ">= 1,000/s", rate.p50 >= 1000)
    for what in ("submit", "panel"):
        full, empty = r[f"{what}, full"], r[f"{what}, empty"]
        ratio = Ratio.of(full, empty)
        beside = f"{ratio} with an empty queue ({_ms(empty.p50)})"
        yield _row(
            f"{what}, {r['waiting'].p50:,.0f} jobs waiting", _ms(full.p50), beside, "<= 1.5 x", ratio.middle <= 1.5
        )
    size = r["queued job"].p50
    beside = "message and indexes included"
    yield _row("memory per queued job in Redis", f"{size:,.0f} bytes", beside, "< 4 KB", size < 4096)


def _start(r: Results) -> Iterator[Row]:
    first, again, plain = (r[name].p50 for name in ("embedded, from nothing", "embedded, running", "subprocess"))
    beside = f"{_ms(again)} once it runs; an importing subprocess takes {_ms(plain)}"
    yield _row("embedded cluster: start to first result", _ms(first), beside, "", None)


def _recovery(r: Results) -> Iterator[Row]:
    taken = r["kill -9 to next run"]
    measured = f"{taken.p50:.1f} s, longest {max(taken.samples):.1f} s"
    yield _row("recovery after kill -9", measured, "outcomes lost or doubled: 0", "<= 15 s", max(taken.samples) <= 15)


_PARTS: dict[str, Callable[[Results], Iterator[Row]]] = {
    "idle": _idle,
    "busy": _busy,
    "heavy": _heavy,
    "cached": _cached,
    "throughput": _throughput,
    "streaming": _streaming,
    "notebook": _notebook,
    "memory": _memory,
    "commands": _commands,
    "backlog": _backlog,
    "start": _start,
    "recovery": _recovery,
}


def _row(what: str, measured: str, compared: str, target: str, met: bool | None) -> Row:
    return Row(what, measured, compared, target, met)


def _ms(number: float) -> str:
    return f"{number / 1000:.1f} s" if number >= 1000 else f"{number:.3g} ms"


def _span(series: Series) -> str:
    return f"{min(series.samples):.0f} - {max(series.samples):.0f}"


def table(made: list[Row]) -> str:
    """As markdown."""
    head = ["what", "measured", "in the same run", "target", "met"]
    lines = [head, ["---"] * len(head), *(row.cells() for row in made)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def machine() -> dict[str, Any]:
    """Where this ran."""
    about: dict[str, Any] = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "kernel": platform.release(),
        "processors": os.cpu_count(),
        "load at the start": round(os.getloadavg()[0], 1),
        "server": str(find_binary()),
    }
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            about["model"] = line.partition(":")[2].strip()
            break
    for name in PACKAGES:
        try:
            about[name] = version(name)
        except PackageNotFoundError:
            about[name] = None
    return about


def save(path: Path, about: Mapping[str, Any], found: Mapping[str, Results], made: list[Row]) -> None:
    """Everything as JSON."""
    series = {part: {name: one.as_dict() for name, one in results.items()} for part, results in found.items()}
    data = {"machine": about, "rows": [row.__dict__ for row in made], "series": series}
    path.write_text(json.dumps(data, indent=1))


def plot(path: Path, results: Results) -> None:
    """Round trips of the idle part, side by side."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    order = sorted(results.values(), key=lambda series: series.p50)
    labels = [f"{series.name} (fresh sandbox)" if series.name == OURS else series.name for series in order]
    colours = ["#1a73e8" if series.name == OURS else "#b0b8c1" for series in order]
    figure, axes = pyplot.subplots(figsize=(8, 0.45 * len(order) + 1.1), dpi=150)
    bars = axes.barh(labels, [series.p50 for series in order], color=colours)
    tails = [[0] * len(order), [max(0.0, series.p95 - series.p50) for series in order]]
    axes.errorbar([s.p50 for s in order], labels, xerr=tails, fmt="none", ecolor="#5f6368", elinewidth=1, capsize=2)
    for bar, series in zip(bars, order, strict=True):
        axes.text(series.p95 * 1.08, bar.get_y() + bar.get_height() / 2, _ms(series.p50), va="center", fontsize=9)
    axes.set_xscale("log")
    axes.set_xlim(right=axes.get_xlim()[1] * 2)
    axes.invert_yaxis()
    axes.set_xlabel("milliseconds from the call to its result, one at a time (median, line to p95; logarithmic)")
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    pyplot.close(figure)
