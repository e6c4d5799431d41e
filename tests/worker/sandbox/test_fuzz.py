"""Garbage from real cells in real sandboxes, against a launcher that works for others meanwhile."""

from __future__ import annotations

import json
import os
import re
import threading
from pathlib import Path
from typing import Any

import pytest
from support import wait_until

from codeexec_magic.contract import OUTPUT_EVENTS, Reason, decode_event, stream_text
from codeexec_magic.limits import Limits
from worker.sandbox import Cell, Outcome, Sandbox
from worker.sandbox.linux import accounting, processes

pytestmark = pytest.mark.slow

#: inputs in all; the promise is for 100,000, more are sent when asked for
INPUTS = int(os.environ.get("CODEEXEC_FUZZ_INPUTS", "100000"))
#: of them, by isolation level
SHARES = {2: 0.7, 1: 0.3}
PER_CELL = 5000
#: room for all of it, so that a cell comes to its end
LIMITS = Limits(soft_s=40.0, hard_s=45.0, output_kb=8192)
CODE = (Path(__file__).parent / "abuse" / "fuzz" / "cell.py").read_text()
#: what a cell of this number, by its rest, must be: it cannot make a success of any other end
MUST_FAIL = {1, 2, 3, 4, 5, 6}
RSS_GROWTH = 48 << 20


class Neighbour(threading.Thread):
    """Honest cells, one after the other, on the same launcher."""

    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__()
        self._sandbox = sandbox
        self.stop = threading.Event()
        self.count = 0
        self.wrong: list[Any] = []

    def run(self) -> None:
        while not self.stop.is_set():
            events: list[dict[str, Any]] = []
            outcome = self._sandbox.run(Cell("honest", f"print({self.count})\n{self.count} + 1", LIMITS)).wait(
                events.append
            )
            shown = [event["data"]["text/plain"] for event in events if event["type"] == "execute_result"]
            if (
                not outcome.success
                or stream_text(events, "stdout") != f"{self.count}\n"
                or shown != [f"{self.count + 1}"]
            ):
                self.wrong.append((outcome, events))
                return
            self.count += 1


def descriptors(pid: int) -> int:
    """How many a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def attack(sandbox: Sandbox, seed: int) -> tuple[Outcome, int]:
    """Run one hostile cell; what became of it, and how many inputs it is known to have sent."""
    events: list[dict[str, Any]] = []
    code = f"SEED, COUNT = {seed}, {PER_CELL}\n{CODE}"
    outcome = sandbox.run(Cell("fuzz", code, LIMITS)).wait(events.append)
    for event in events:
        assert decode_event(event)["type"] in OUTPUT_EVENTS
    json.dumps([events, outcome.error and outcome.error.as_dict(), list(outcome.left_behind)], allow_nan=False).encode()
    told = re.findall(r"\nSENT (\d+)\n", stream_text(events, "stderr"))
    return outcome, int(told[-1]) if told else 0


@pytest.mark.timeout(60 + INPUTS // 200)
@pytest.mark.parametrize("level", SHARES)
def test_hostile_input_costs_nobody_but_the_cell(level: int) -> None:
    """The launcher lives, holds no more than before, tells the truth, and serves others all the while."""
    with Sandbox(slots=2, preload=(), level=level, required_isolation=level, probe=False) as sandbox:
        pid = sandbox.pid
        assert pid is not None
        attack(sandbox, 0)
        wait_until(lambda: len(processes.descendants(pid)) <= 8)
        files, memory = descriptors(pid), accounting.resident(pid)
        neighbour = Neighbour(sandbox)
        neighbour.start()
        try:
            total = seed = 0
            while total < INPUTS * SHARES[level]:
                seed += 1
                outcome, sent = attack(sandbox, seed)
                total += sent
                assert outcome.reason is not Reason.INTERNAL, (seed, outcome)
                assert not (outcome.success and seed % 7 in MUST_FAIL), (seed, outcome)
                assert not neighbour.wrong, (seed, neighbour.wrong)
                assert seed < 100 + INPUTS // 500, "the cells no longer tell what they have sent"
        finally:
            neighbour.stop.set()
            neighbour.join()
        assert neighbour.count > 5
        assert sandbox.pid == pid
        wait_until(lambda: descriptors(pid) <= files, what="the launcher's descriptors are as many as before")
        assert accounting.resident(pid) - memory < RSS_GROWTH
        print(f"level {level}: {total} inputs from {seed} cells, {neighbour.count} honest cells beside them")
