"""``codeexec metrics``: the cluster's figures for Prometheus."""

from __future__ import annotations

import click

from codeexec_magic.cli.root import client
from codeexec_magic.cli.terminal import echo
from codeexec_magic.errors import ClusterError
from codeexec_magic.store import JobStore
from codeexec_magic.store.monitor import Query, Reading, read

_QUERY = Query(source="none", letters_limit=0, workers=2000)


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=9808, show_default=True, help="Where to serve it.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for all.")
@click.option("--once", is_flag=True, help="Print it and end.")
@click.pass_obj
def metrics(broker: str | None, port: int, host: str, once: bool) -> None:
    """Serve queues, waits, runs, dead letters and workers to Prometheus, at /metrics."""
    try:
        from prometheus_client import start_http_server

        from codeexec_magic.prometheus import exposition, registry
    except ImportError:
        raise ClusterError("prometheus-client is not installed: pip install 'codeexec-magic[metrics]'") from None
    with client(broker) as connection:
        store = connection.store
        if once:
            echo(exposition(read(store, _QUERY)), nl=False)
            return
        try:
            server, thread = start_http_server(port, host, registry(lambda: _reading(store)))
        except OSError as err:
            raise ClusterError(f"cannot listen on {host}:{port}: {err}") from None
        echo(f"metrics on http://{host}:{server.server_port}/metrics", err=True)
        try:
            thread.join()
        finally:
            server.shutdown()
            server.server_close()


def _reading(store: JobStore) -> Reading | None:
    """The figures as they are now; None while the broker is away."""
    try:
        return read(store, _QUERY)
    except ClusterError:
        return None
