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

import os
import sys
from typing import Any, Final

from celery import Celery
from celery.signals import worker_init, worker_ready, worker_shutdown, worker_shutting_down
from kombu.entity import Exchange, Queue

from codeexec_magic.broker_url import BrokerURL
from codeexec_magic.contract import QUEUES
from codeexec_magic.errors import CodeExecError
from codeexec_magic.settings import WorkerSettings
from codeexec_magic.store.connection import CONNECT_TIMEOUT_S, REPLY_TIMEOUT_S
from codeexec_magic.store.keys import Namespace
from worker import kombu_transport
from worker.kombu_transport import CLIENT_NAME
from worker.runtime import Runtime

#: seconds between Celery's tests of its own connections
HEALTH_CHECK_S: Final = 10


def locations(settings: WorkerSettings) -> tuple[BrokerURL, BrokerURL]:
    """Broker and result backend of a worker.

    Raises:
        BadSetting: a URL names a file that cannot be read.
    """
    broker = BrokerURL.parse(settings.broker_url or "redis://localhost:6379/0").check_files()
    if settings.result_backend is None:
        return broker, broker.with_database(1)
    return broker, BrokerURL.parse(settings.result_backend).check_files()


def configuration(settings: WorkerSettings) -> dict[str, Any]:
    """Celery's settings for ours."""
    broker, backend = locations(settings)
    return {
        **_broker_settings(broker),
        **_backend_settings(backend),
        "result_expires": settings.result_ttl_s,
        "result_backend_max_retries": 5,
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
            "health_check_interval": broker.options.get("health_check_interval") or HEALTH_CHECK_S,
            "priority_steps": [0],
            # lists, bindings and control channels of this namespace alone
            "global_keyprefix": Namespace(settings.namespace).bare,
        },
    }


def _broker_settings(broker: BrokerURL) -> dict[str, Any]:
    # Celery and kombu print URLs in their banner, in errors and in answers to ``inspect``, each with a rule of its own
    # for passwords: the URL that they get has none
    return {
        "broker_url": broker.address,
        "broker_user": broker.username,
        "broker_password": broker.password,
        "broker_use_ssl": broker.tls_options() or False,
    }


def _backend_settings(backend: BrokerURL) -> dict[str, Any]:
    options = backend.connection_options()
    return {
        "result_backend": backend.address,
        "redis_username": backend.username,
        "redis_password": backend.password,
        "redis_backend_use_ssl": backend.tls_options() or None,
        # a Unix socket knows no keep-alive, and redis-py refuses the option there
        "redis_socket_keepalive": not backend.is_socket and options.get("socket_keepalive", True),
        "redis_socket_timeout": options.get("socket_timeout", REPLY_TIMEOUT_S),
        "redis_socket_connect_timeout": options.get("socket_connect_timeout", CONNECT_TIMEOUT_S),
        "redis_retry_on_timeout": options.get("retry_on_timeout", False),
        "redis_backend_health_check_interval": options.get("health_check_interval"),
        "redis_max_connections": options.get("max_connections"),
        "redis_client_name": options.get("client_name", CLIENT_NAME),
    }


try:
    _settings = WorkerSettings.from_env()
    app = Celery("codeexec")
    app.conf.update(configuration(_settings))
    _broker, _backend = locations(_settings)
    for _variable in ("CELERY_BROKER_URL", "CELERY_RESULT_BACKEND"):
        # Celery would take these before its settings, and read the URLs, with their passwords, in its own way
        os.environ.pop(_variable, None)
    runtime = Runtime(_settings, _broker.url, _backend.url)
except CodeExecError as err:
    sys.exit(f"codeexec worker: {err}")
kombu_transport.install([queue.name for queue in app.conf.task_queues], runtime.reject, _broker)


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
