"""What the peers run: nothing. ``celery -A benchmarks.noop worker`` and ``rq worker`` import this."""

from __future__ import annotations

import os

from celery import Celery

app = Celery("noop", broker=os.environ.get("BENCH_BROKER"), backend=os.environ.get("BENCH_BACKEND"))
app.conf.task_default_queue = "bench_noop"


@app.task
def noop() -> int:
    """The Celery task."""
    return 2


def nothing() -> int:
    """The function for rq and the process pool."""
    return 2
