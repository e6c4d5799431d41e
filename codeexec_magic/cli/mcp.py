"""``codeexec mcp``: what agents speak, on standard input and output or over HTTP."""

from __future__ import annotations

import importlib.util

import click

from codeexec_magic.cli.root import client
from codeexec_magic.errors import BadSetting


@click.command()
@click.option("--http", "port", type=click.IntRange(1, 65535), metavar="PORT", help="Serve HTTP on 127.0.0.1 instead.")
@click.pass_obj
def mcp(broker: str | None, port: int | None) -> None:
    """Give an agent tools to run code: the Model Context Protocol on standard input and output.

    With --http PORT it is at /mcp, beside /execute and /contexts (E2B's code interpreter) and /run_code
    (SandboxFusion). There are no tokens, so it listens on this machine only.
    """
    if missing := [name for name in ("mcp", "starlette", "uvicorn") if importlib.util.find_spec(name) is None]:
        raise BadSetting(f"the package {missing[0]} is missing: pip install 'codeexec-magic[server]'")
    with client(broker) as connection:
        if port is None:
            from codeexec_magic.agents.mcp_server import make_server

            make_server(connection).run("stdio")
            return
        import uvicorn

        from codeexec_magic.agents.http.app import make_app

        _ = connection.store  # a broker that cannot be reached is said before anybody asks
        uvicorn.run(make_app(connection), host="127.0.0.1", port=port, log_level="warning", timeout_graceful_shutdown=5)
