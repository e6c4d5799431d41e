"""Starts the daemon: lock the folder, leave the caller's process tree, keep the cluster."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
from typing import Final

from codeexec_magic.errors import CodeExecError
from codeexec_magic.local.directory import ClusterDirectory
from codeexec_magic.settings import ClusterSettings, WorkerSettings

#: seconds to wait for a lock that is held although no daemon is alive
LOCK_S: Final = 5.0


def main() -> int:
    """Become the daemon of the folder the environment names.

    Returns:
        Exit status, in the original process 0 as soon as the daemon holds its lock.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    try:
        settings = ClusterSettings.from_env()
        home = ClusterDirectory.locate(settings)
        home.create()
        deadline = time.monotonic() + LOCK_S
        while time.monotonic() < deadline:
            with contextlib.ExitStack() as held:
                try:
                    held.enter_context(home.lock("daemon", timeout=0.05))
                except TimeoutError:
                    # another daemon was faster; or the last one was just killed, and its lock is free in a moment
                    found = home.read()
                    if found is not None and found.alive:
                        return 0
                else:
                    return _keep(home, settings)
        print("Error: another process keeps this cluster and does not answer", file=sys.stderr)
    except CodeExecError as err:
        print(f"Error: {err}", file=sys.stderr)
    return 1


def _keep(home: ClusterDirectory, settings: ClusterSettings) -> int:
    before = home.read()
    home.forget()  # clients must not take the state of the previous daemon for ours
    # The child inherits the lock. The caller reaps this process at once, so that the daemon has no parent there: it
    # belongs to no process tree that a notebook server would sweep away with its kernel.
    if os.fork():
        os._exit(0)
    from codeexec_magic.local.daemon import Daemon

    return Daemon(home, settings, WorkerSettings.from_env(), os.environ).run(before)


if __name__ == "__main__":
    sys.exit(main())
