"""``codeexec metrics``: the cluster's figures for Prometheus."""

from __future__ import annotations

from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import click

from codeexec_magic.cli.root import client
from codeexec_magic.cli.terminal import echo
from codeexec_magic.client import Client
from codeexec_magic.errors import ClusterError
from codeexec_magic.prometheus import CONTENT_TYPE, exposition
from codeexec_magic.store.monitor import Query, read

_QUERY = Query(source="none", letters_limit=0, workers=2000)


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=9808, show_default=True, help="Where to serve it.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for all.")
@click.option("--once", is_flag=True, help="Print it and end.")
@click.pass_obj
def metrics(broker: str | None, port: int, host: str, once: bool) -> None:
    """Serve queues, waits, runs, dead letters and workers to Prometheus, at /metrics."""
    with client(broker) as connection:
        if once:
            echo(exposition(read(connection.store, _QUERY)), nl=False)
            return
        _ = connection.store
        try:
            server = Exporter((host, port), connection)
        except OSError as err:
            raise ClusterError(f"cannot listen on {host}:{port}: {err}") from None
        echo(f"metrics on http://{host}:{server.server_port}/metrics", err=True)
        with server:
            server.serve_forever()


class Exporter(ThreadingHTTPServer):
    """Reads the cluster anew for every request.

    Args:
        address: host and port.
        connection: the cluster.
    """

    daemon_threads = True

    def __init__(self, address: tuple[str, int], connection: Client) -> None:
        self.connection = connection
        super().__init__(address, _Handler)

    def text(self) -> str:
        """The figures as they are now."""
        try:
            return exposition(read(self.connection.store, _QUERY))
        except ClusterError:
            return exposition(None)


class _Handler(BaseHTTPRequestHandler):
    server: Exporter

    def do_GET(self) -> None:
        if self.path.partition("?")[0] not in ("/", "/metrics"):
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        body = self.server.text().encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing: a scrape every few seconds is no news."""
