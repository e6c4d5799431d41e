"""An orderly stop of the embedded cluster: wait for the cells that run, and say what becomes of the rest."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from codeexec_magic.errors import ClusterError
from codeexec_magic.local import cluster
from codeexec_magic.settings import Settings
from codeexec_magic.store import JobStore
from codeexec_magic.store.monitor import Query, Reading, read

#: seconds that running cells get to finish before they are queued again
GRACE_S: Final = 10.0
_POLL_S: Final = 0.2


@dataclass(frozen=True)
class Stopped:
    """What a stop found and did."""

    was_running: bool  #: whether there was a cluster at all
    interrupted: int = 0  #: cells that had begun; they start again from their beginning
    waiting: int = 0  #: jobs that were queued, or between two tries

    def __str__(self) -> str:
        if not self.was_running:
            return "not running"
        lines = []
        if self.interrupted:
            lines.append(f"{_jobs(self.interrupted)} interrupted: back in the queue, to run from the beginning")
        if self.waiting:
            lines.append(f"{_jobs(self.waiting)} waiting")
        return "stopped" + (f"; {'; '.join(lines)}. All are kept for the next start" if lines else "")


def stop(grace_s: float = GRACE_S, progress: Callable[[str], object] = lambda _line: None) -> Stopped:
    """Stop the embedded cluster.

    Args:
        grace_s: seconds that the cells which run now get to finish.
        progress: called with a line of text when there is something to wait for.

    Raises:
        ClusterStartFailed: its folder is not ours alone.
    """
    found = cluster.find()
    if found is None:
        return Stopped(cluster.stop())
    store = JobStore(found.broker_url, Settings.from_env())
    try:
        reading = _await_running(store, grace_s, progress)
    except ClusterError:
        return Stopped(cluster.stop())  # it does not answer, which is no reason to leave it running
    finally:
        store.close()
    return Stopped(cluster.stop(), reading.running, reading.waiting + reading.retrying)


def _await_running(store: JobStore, grace_s: float, progress: Callable[[str], object]) -> Reading:
    """Wait until the jobs that run now have ended; those that begin meanwhile are not waited for."""
    query = Query(status="running", limit=200, letters_limit=0)
    reading = read(store, query)
    began = {job.state.id for job in reading.jobs}
    if began and grace_s > 0:
        progress(f"waiting up to {grace_s:g} s for {_jobs(len(began))} to finish (--now does not wait)")
    deadline = time.monotonic() + grace_s
    while began & {job.state.id for job in reading.jobs} and time.monotonic() < deadline:
        time.sleep(_POLL_S)
        reading = read(store, query)
    return reading


def _jobs(number: int) -> str:
    return f"{number} job{'' if number == 1 else 's'}"
