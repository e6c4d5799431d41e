"""Starts the keeper: lock the folder, leave the caller's process tree, keep the cluster."""

from __future__ import annotations

import logging
import os
import sys

from codeexec_magic.errors import CodeExecError
from codeexec_magic.local.home import Home
from codeexec_magic.settings import ClusterSettings, WorkerSettings


def main() -> int:
    """Become the keeper of the folder the environment names.

    Returns:
        Exit status, in the original process 0 as soon as the keeper holds its lock.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    try:
        settings = ClusterSettings.from_env()
        home = Home.locate(settings)
        home.create()
        # a keeper that was just killed takes a moment to let go of the lock
        with home.lock("keeper", timeout=5.0):
            # The lock goes along with the fork. The caller reaps us at once and is nobody's parent afterwards: the
            # keeper belongs to no process tree that a notebook server would sweep away with its kernel.
            if os.fork():
                os._exit(0)
            from codeexec_magic.local.keeper import Keeper

            app = os.environ.pop("CODEEXEC_WORKER_APP", "worker.app")
            return Keeper(home, settings, WorkerSettings.from_env(), os.environ, app).run()
    except TimeoutError:
        print("Error: another process keeps this cluster and does not answer", file=sys.stderr)
    except CodeExecError as err:
        print(f"Error: {err}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
