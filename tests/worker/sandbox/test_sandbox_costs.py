"""What a cell may cost the sandbox, in counts of the kernel's that no clock changes; bounds are measured plus room."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from worker.sandbox import Cell, Sandbox

CELLS = 20


class Counts(NamedTuple):
    """What the kernel has counted so far."""

    launcher_calls: int  #: reads and writes of the launcher
    zygote_faults: int  #: pages that the zygote had to get back after its forks
    cell_faults: int  #: pages that its children copied or mapped, those they asked for included
    house_faults: int  #: the same of the namespace_server and the first processes of runs


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """One slot, with the libraries that are always preloaded."""
    with Sandbox(slots=1, probe=False) as sandbox:
        if sandbox.report["level"] < 2:
            pytest.skip("counted at level 2")
        run(sandbox)
        yield sandbox


def run(sandbox: Sandbox) -> None:
    """A cell, and its replacement made."""
    assert sandbox.run(Cell("cost", "1+1")).wait().success
    end = time.monotonic() + 20
    while len(parts(sandbox)) != 6:  # namespace_server, zygote, and process 1 and cell of two standbys
        assert time.monotonic() < end, parts(sandbox)
        threading.Event().wait(0.02)


def parts(sandbox: Sandbox) -> list[psutil.Process]:
    """Everything below the launcher."""
    return psutil.Process(sandbox.pid).children(recursive=True)


def count(sandbox: Sandbox) -> Counts:
    """Read the counters."""
    launcher = psutil.Process(sandbox.pid)
    (namespace_server,) = launcher.children()
    zygote = min(namespace_server.children(), key=lambda child: child.create_time())
    io = dict(line.split(": ") for line in Path(f"/proc/{launcher.pid}/io").read_text().splitlines())
    return Counts(int(io["syscr"]) + int(io["syscw"]), *faults(zygote), sum(faults(namespace_server)))


def faults(process: psutil.Process) -> tuple[int, int]:
    """Minor faults of a process, and of the children that it has waited for."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[7]), int(fields[8])


def pinned(sandbox: Sandbox) -> bool:
    """Whether what every cell copies is pinned in the zygote."""
    zygote = min(psutil.Process(sandbox.pid).children()[0].children(), key=lambda child: child.create_time())
    status = Path(f"/proc/{zygote.pid}/status").read_text()
    return int(status.partition("VmPin:")[2].split()[0]) > 4096  # kB


def test_a_cell_costs_little(sandbox: Sandbox) -> None:
    """A simple cell, and the standby that replaces it, take no more calls of the launcher and pages than measured."""
    before = count(sandbox)
    for _ in range(CELLS):
        run(sandbox)
    after = count(sandbox)
    spent = Counts(*((now - then) // CELLS for then, now in zip(before, after, strict=True)))
    most = Counts(launcher_calls=56, zygote_faults=240, cell_faults=1450, house_faults=550)
    if not pinned(sandbox):  # where the kernel refuses that, every fork copies page by page
        most = most._replace(zygote_faults=400, cell_faults=2700)
    assert all(one <= bound for one, bound in zip(spent, most, strict=True)), f"{spent}, allowed {most}"
