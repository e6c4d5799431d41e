"""What ``codeexec doctor --ready`` asks: whether this container or machine may be given work. Made for probes."""

from __future__ import annotations

import socket
from typing import Final

from codeexec_magic.cli.terminal import echo, line
from codeexec_magic.client import Client
from codeexec_magic.errors import ClusterError
from codeexec_magic.settings import Settings

#: what may be asked about
ROLES: Final = ("client", "worker")


def check(role: str, broker: str | None) -> int:
    """Print one line and return the exit status of the probe: 0 when ready, 1 when not.

    Args:
        role: ``client``: the broker answers. ``worker``: besides, a worker of this host serves a queue.
        broker: URL of the broker; by default the one of the environment.

    Raises:
        ClusterError: no broker is named; a probe must not start the embedded cluster.
        CodeExecError: the broker does not answer, or refuses.
    """
    url = broker or Settings.from_env().broker_url
    if url is None:
        raise ClusterError("a probe needs a broker: give --broker URL or set CELERY_BROKER_URL")
    with Client(url) as client:
        workers = client.workers()
    if role == "client":
        echo("ready: the broker answers")
        return 0
    host = socket.gethostname()
    own = [worker for worker in workers if worker.alive and worker.id.partition("@")[2] == host]
    serving = sorted({queue for worker in own for queue in worker.queues})
    if not serving:
        echo(f"not ready: no worker of {line(host)} serves a queue")
        return 1
    echo(f"ready: {len(own)} worker{'s' * (len(own) != 1)} of {line(host)} on {line(', '.join(serving))}")
    return 0
