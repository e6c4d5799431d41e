"""The real worker with a ledger and failpoints around it; loaded by ``celery -A chaos_app`` in the chaos suite.

The ledger is a file that every start and end of a sandbox run is appended to, apart from everything the project
records itself. A failpoint kills or stops the worker at a chosen step, once per file named in ``CHAOS_FAILPOINT``.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_lock = threading.Lock()
_real_time = time.time
if os.environ.get("CHAOS_CLOCK"):
    # a machine whose clock is wrong; the steady clock stays what it is
    time.time = lambda: _real_time() + float(os.environ["CHAOS_CLOCK"])  # type: ignore[assignment]

from worker import announcer as announcer_module  # noqa: E402
from worker import attempt as attempt_module  # noqa: E402
from worker.app import app, runtime  # noqa: E402
from worker.runtime import Runtime  # noqa: E402
from worker.sandbox import Cell  # noqa: E402

__all__ = ["app"]


def note(word: str, run_id: str) -> None:
    """Append one line to the ledger; a single small write to an O_APPEND file is not torn."""
    descriptor = os.open(os.environ["CHAOS_LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, f"{word} {run_id.replace(':', ' ')} {os.getpid()} {time.monotonic():.3f}\n".encode())
    os.close(descriptor)


def armed(name: str) -> bool:
    """Whether a file asks for this failpoint; the file holds how many more times. Each time is noted."""
    path = Path(os.environ["CHAOS_FAILPOINT"]) / name
    with _lock:
        if not path.exists():
            return False
        left = int(path.read_text() or "1") - 1
        if left <= 0:
            path.unlink()
        else:
            path.write_text(str(left))
    note(f"failpoint-{name}", "-:-")
    return True


def failpoint(name: str) -> None:
    """Die here if a file asks for it."""
    if armed(name):
        os.kill(os.getpid(), signal.SIGKILL)


_open = Runtime.open


def open_with_ledger(self: Runtime, name: str, slots: int) -> None:
    """Open the runtime, then note every run of its sandbox."""
    _open(self, name, slots)
    start: Callable[[Cell], Any] = self.sandbox.run

    def run(cell: Cell) -> Any:
        note("start", cell.run_id)
        running = start(cell)
        wait = running.wait

        def noted(on_event: Callable[[dict[str, Any]], None]) -> Any:
            failpoint("in-run")
            outcome = wait(on_event)
            note("end", cell.run_id)
            failpoint("before-finish")
            return outcome

        running.wait = noted
        return running

    self.sandbox.run = run  # type: ignore[method-assign]


Runtime.open = open_with_ledger  # type: ignore[method-assign]

_finish, _begin = runtime.store.finish, runtime.store.begin


def finish(*arguments: Any, **options: Any) -> Any:
    """Finish, then perhaps die before anybody hears of it."""
    answer = _finish(*arguments, **options)
    failpoint("after-finish")
    return answer


def begin(*arguments: Any, **options: Any) -> Any:
    """Perhaps die with the message taken and nothing recorded."""
    failpoint("before-begin")
    for error in (MemoryError, SystemExit, KeyboardInterrupt):
        if armed(f"raise-{error.__name__}"):
            raise error("a failpoint")
    return _begin(*arguments, **options)


_alert = announcer_module.alert
announcer_module.ALERT_HOLD_S = 2.0
attempt_module.FULL_PATIENCE_S = 2.0


def alert(*arguments: Any) -> None:
    """Perhaps die with the dead letter claimed and nobody told."""
    failpoint("in-alert")
    _alert(*arguments)


announcer_module.alert = alert
runtime.store.finish = finish  # type: ignore[method-assign]
runtime.store.begin = begin  # type: ignore[method-assign]
