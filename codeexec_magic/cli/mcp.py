"""``codeexec mcp``: the Model Context Protocol server on standard input and output."""

from __future__ import annotations

import importlib.util

import click

from codeexec_magic.cli.root import client
from codeexec_magic.errors import BadSetting


@click.command()
@click.pass_obj
def mcp(broker: str | None) -> None:
    """Give an agent tools to run code: the Model Context Protocol on standard input and output."""
    if importlib.util.find_spec("mcp") is None:
        raise BadSetting("the mcp package is missing: pip install 'codeexec-magic[server]'")
    from codeexec_magic.agents.mcp_server import make_server

    with client(broker) as connection:
        make_server(connection).run("stdio")
