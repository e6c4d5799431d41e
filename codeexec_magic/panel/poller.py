"""The thread behind a panel: it reads once a second while somebody looks, and rests while nobody does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from codeexec_magic.panel import visibility

#: seconds between readings
REFRESH_S = 1.0


class Poller:
    """Ticks until it is stopped.

    Args:
        tick: called about once a second, and soon after :meth:`hurry`.
        rest: called once when nobody has looked for a while.
        broken: called with what ``tick`` raised; the thread goes on.
    """

    def __init__(
        self, tick: Callable[[], None], *, rest: Callable[[], None], broken: Callable[[Exception], None]
    ) -> None:
        self._tick, self._rest, self._broken = tick, rest, broken
        self._seen_at = time.monotonic()
        self._wake = threading.Event()
        self._stopped = threading.Event()

    def start(self) -> None:
        """Begin."""
        threading.Thread(target=self._run, name="codeexec-panel", daemon=True).start()

    def stop(self) -> None:
        """End; a tick on its way is not waited for."""
        self._stopped.set()
        self._wake.set()

    def hurry(self) -> None:
        """Tick now: somebody did something."""
        self._wake.set()

    def beat(self) -> None:
        """The page says that it shows the panel."""
        away = self._unseen()
        self._seen_at = time.monotonic()
        if away:
            self._wake.set()

    def _unseen(self) -> bool:
        return time.monotonic() - self._seen_at > visibility.LEASE_S

    def _run(self) -> None:
        resting = False
        while not self._stopped.is_set():
            self._wake.wait(REFRESH_S)
            self._wake.clear()
            if self._stopped.is_set():
                return
            try:
                if not self._unseen():
                    resting = False
                    self._tick()
                elif not resting:
                    resting = True
                    self._rest()
            except Exception as err:  # whatever stands in Redis must not end the thread
                if not self._stopped.is_set():
                    self._broken(err)
