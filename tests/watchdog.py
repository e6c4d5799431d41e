"""Ends what a test run leaves behind when a signal ends the run itself.

A process apart waits for the run's end. Unless the run says that it ended by itself, every process that was started by
it is killed: those have the run's mark in their environment, even when they left its process tree as the daemon of an
embedded cluster does. Run as a program: ``python watchdog.py MARK``, with the pipe from the run as standard input.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Final

VARIABLE: Final = "CODEEXEC_TEST_RUN"
#: seconds for which processes that are just being started are looked for
SWEEP_S: Final = 5.0


class Watchdog:
    """The process that outlives this one, started at once."""

    def __init__(self) -> None:
        mark = uuid.uuid4().hex
        os.environ[VARIABLE] = mark
        # in a session and an environment of its own: what ends the run, or its processes, does not end the watchdog
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-E", __file__, mark],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={},
            cwd="/",
            start_new_session=True,
        )

    def finish(self) -> None:
        """Say that the run ended by itself: what is left now is the tests' own fault, and for them to notice."""
        self._process.communicate(b"finished", 30)


def sweep(mark: str) -> None:
    """Kill every process that has the mark in its environment."""
    deadline = time.monotonic() + SWEEP_S
    while time.monotonic() < deadline:
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and mark.encode() in (entry / "environ").read_bytes():
                    os.kill(int(entry.name), signal.SIGKILL)
            except OSError:
                continue  # gone meanwhile, or not ours
        time.sleep(0.1)


if __name__ == "__main__":
    if not sys.stdin.buffer.read():
        sweep(sys.argv[1])
