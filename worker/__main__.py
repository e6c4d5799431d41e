"""``python -m worker -A worker.app worker ...``: Celery's command line, begun by starting the sandbox.

Launcher and zygote import IPython and the preload list in processes of their own, which takes as long as importing
Celery here; side by side, a worker is ready in little more than the longer of the two.
"""

from __future__ import annotations

import sys
from dataclasses import replace

from codeexec_magic.errors import CodeExecError
from codeexec_magic.settings import WorkerSettings
from worker import runtime
from worker.sandbox import Sandbox


def main() -> None:
    """Start the sandbox, then hand over to Celery."""
    arguments = sys.argv
    try:
        settings = WorkerSettings.from_env()
        if "-c" in arguments[:-1] and (slots := arguments[arguments.index("-c") + 1]).isdigit():
            settings = replace(settings, slots=int(slots))
        runtime.early_sandbox = Sandbox.from_settings(settings)
        runtime.early_sandbox.spawn()
    except CodeExecError as err:
        sys.exit(f"codeexec worker: {err}")
    from celery.__main__ import main as celery

    sys.argv[0] = "celery"
    celery()


if __name__ == "__main__":
    main()
