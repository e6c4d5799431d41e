"""Large values: a 100 MB array into a cell and out of it, beside what others take for the same bytes."""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redis

if TYPE_CHECKING:
    from benchmarks.stand import Stand

MEGABYTES = 100
ROUNDS = 5
#: how often another thread of the kernel is looked for (seconds)
_BEAT_S = 0.01


def measure(stand: Stand, quick: bool = False) -> dict[str, list[float]]:
    """Megabytes a second of each way, one figure a round; and the kernel's growth and longest silence.

    Args:
        stand: where it runs.
        quick: few rounds.
    """
    import numpy as np

    found: dict[str, list[float]] = {}
    generator = np.random.default_rng(1)
    for _ in range(2 if quick else ROUNDS):
        array = generator.random(MEGABYTES << 17)
        for name, call in _ways(stand, array).items():
            found.setdefault(name, []).append(MEGABYTES / _seconds(call))
        _through_cells(stand, array, found)
    return found


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _ways(stand: Stand, array: Any) -> dict[str, Callable[[], object]]:
    """The ways of others."""
    import joblib

    server = redis.Redis(unix_socket_path=str(stand.server.socket))
    data = memoryview(array).cast("B")
    folder = Path(tempfile.mkdtemp(dir=stand.directory))

    def redis_in() -> None:
        server.set("bench:raw", data)  # type: ignore[arg-type]

    def redis_out() -> None:
        assert len(server.get("bench:raw") or b"") == data.nbytes  # type: ignore[arg-type]
        server.delete("bench:raw")

    return {
        "redis set": redis_in,
        "redis get": redis_out,
        "joblib dump": lambda: joblib.dump(array, folder / "a"),
        "joblib load": lambda: joblib.load(folder / "a"),
    }


def _through_cells(stand: Stand, array: Any, found: dict[str, list[float]]) -> None:
    """Into a cell, which sums it, and out of one that made it; an empty cell is what both take beside the bytes."""
    client = stand.client
    beat = _Heartbeat()
    before = _memory_mb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here

    def run(code: str, **options: Any) -> Any:
        return client.submit(code, cache=False, memory_mb=1024, limits={"file_mb": 256}, **options).result(120)

    with beat:
        empty = _seconds(lambda: run("1"))
        went_in = _seconds(lambda: run("a.nbytes", inputs={"a": array}))
        result = run(f"import numpy; b = numpy.ones({MEGABYTES << 17})", outputs=["b"])
        fetched = _seconds(lambda: result.values["b"])
    grown = _memory_mb("VmHWM") - before
    found.setdefault("in", []).append(MEGABYTES / max(went_in - empty, 1e-9))
    found.setdefault("fetch", []).append(MEGABYTES / fetched)
    found.setdefault("kernel grew (MB)", []).append(grown)
    found.setdefault("kernel silent (ms)", []).append(1000 * beat.longest)


def _memory_mb(field: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise LookupError(field)


class _Heartbeat:
    """Another thread of this process, which notes for how long it could not run."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        last = time.perf_counter()
        while not self._stop.wait(_BEAT_S):
            now = time.perf_counter()
            self.longest = max(self.longest, now - last - _BEAT_S)
            last = now

    def __enter__(self) -> _Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stop.set()
        self._thread.join()


def main() -> None:
    """Print the medians."""
    from statistics import median

    from benchmarks.stand import Stand

    with Stand() as stand:
        found = measure(stand, "--quick" in sys.argv)
    for name, figures in found.items():
        unit = "" if "(" in name else " MB/s"
        print(f"{name:20} {median(figures):8.0f}{unit}   ({', '.join(f'{figure:.0f}' for figure in figures)})")


if __name__ == "__main__":
    main()
