"""The Celery app: ``celery -A worker.app worker -Q code_execution``.

Celery delivers a job's id to a worker, once and early acknowledged; the job record decides everything else (see
``codeexec_magic.store``). What was seen on Celery 5.7.0, kombu 5.7.0 and redis-py 8.1 and led here:

- *threads pool*: a task only waits for its sandbox, which is a process of its own, and a cancel must reach that
  sandbox at once. Celery's limits do not work there, and are not needed: the launcher keeps time.
- *early acknowledgement*: with ``acks_late`` a broker that went away while a task ran and a slot was free ended the
  worker's main process (AttributeError in kombu's restore of unacknowledged messages). With nothing unacknowledged
  while cells run, there is nothing to restore; and the lease, not the visibility timeout, tells who is alive.
- *no prefetch*: a message taken by a busy worker waits although another one is free. Celery's switch for that stops
  reading while all slots are taken and looks again at the next event or second, so a slot that becomes free has to
  wake the loop (``worker.tasks.WakingRequest``): without, one message in some waited for up to a second.
"""

from __future__ import annotations

import sys
from typing import Any

from celery import Celery
from celery.signals import worker_init, worker_ready, worker_shutdown, worker_shutting_down
from kombu.entity import Exchange, Queue

from codeexec_magic.contract import QUEUES, bare_prefix
from codeexec_magic.errors import BadSetting, CodeExecError
from codeexec_magic.settings import WorkerSettings, database
from codeexec_magic.store.connection import CONNECT_TIMEOUT_S, REPLY_TIMEOUT_S
from worker import kombu_transport
from worker.runtime import Runtime


def configuration(settings: WorkerSettings) -> dict[str, Any]:
    """Celery's settings for ours."""
    broker = settings.broker_url or "redis://localhost:6379/0"
    return {
        "broker_url": broker,
        "result_backend": settings.result_backend or database(broker, 1),
        "result_expires": settings.result_ttl_s,
        "result_backend_max_retries": 5,
        "redis_socket_keepalive": True,
        "imports": ("worker.tasks",),
        "task_queues": [
            Queue(name, Exchange(name, type="direct"), routing_key=name)
            for name in dict.fromkeys((*QUEUES, *settings.queues))
        ],
        "task_default_queue": settings.queues[0],
        "task_create_missing_queues": False,
        "task_serializer": "json",
        "result_serializer": "json",
        "accept_content": ["json"],
        "result_accept_content": ["json"],
        "task_acks_late": False,
        "task_ignore_result": True,  # the store writes the result entry: see store/celery_results.py
        "task_track_started": False,
        "worker_send_task_events": settings.events,
        "worker_pool": "threads",
        "worker_concurrency": settings.slots,
        "worker_prefetch_multiplier": 1,
        "worker_disable_prefetch": True,
        "worker_enable_prefetch_count_reduction": False,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_hijack_root_logger": True,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_transport_options": {
            # who has which job is told by its record and lease; kombu's own book of deliveries costs two transactions
            # for every message, each on a new client object, and would only say it again
            "ack_emulation": False,
            "health_check_interval": 10,
            "socket_keepalive": True,
            # by default kombu waits for ever: a connection that went half open under its timers stopped the main loop
            "socket_timeout": REPLY_TIMEOUT_S,
            "socket_connect_timeout": CONNECT_TIMEOUT_S,
            "priority_steps": [0],
            "client_name": "codeexec-worker",
            # lists, bindings and control channels of this namespace alone
            "global_keyprefix": bare_prefix(settings.namespace),
        },
    }


try:
    _settings = WorkerSettings.from_env()
    app = Celery("codeexec")
    app.conf.update(configuration(_settings))
except BadSetting as err:
    sys.exit(f"codeexec worker: {err}")

runtime = Runtime(_settings, app.conf.broker_url, app.conf.result_backend)
kombu_transport.install([queue.name for queue in app.conf.task_queues], runtime.reject)


def _start(sender: Any = None, **_: Any) -> None:
    # in the main thread: the launcher asks the kernel to be killed when the thread that made it ends
    pool = type(sender).__name__ if sender is None else getattr(sender.pool_cls, "__name__", str(sender.pool_cls))
    if "thread" not in getattr(sender.pool_cls, "__module__", pool).lower():
        sys.exit("codeexec worker: use the threads pool (-P threads): every cell already runs in a process of its own")
    try:
        runtime.open(name=str(sender.hostname), slots=int(sender.concurrency))
    except CodeExecError as err:
        sys.exit(f"codeexec worker: {err}")


def _ready(sender: Any = None, **_: Any) -> None:
    runtime.serve(tuple(sender.task_consumer.queues and [queue.name for queue in sender.task_consumer.queues]))


def _shutting_down(**_: Any) -> None:
    runtime.drain()


def _stop(**_: Any) -> None:
    runtime.close()


worker_init.connect(_start, weak=False)
worker_ready.connect(_ready, weak=False)
worker_shutting_down.connect(_shutting_down, weak=False)
worker_shutdown.connect(_stop, weak=False)
