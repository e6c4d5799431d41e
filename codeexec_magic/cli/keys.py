"""``codeexec keys``: what is in the server, and what keeps it from growing for ever."""

from __future__ import annotations

from dataclasses import asdict

import click

from codeexec_magic.cli.root import client
from codeexec_magic.cli.terminal import as_json, seconds, table
from codeexec_magic.store.key_inventory import Held, survey


@click.command()
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
@click.pass_obj
def keys(broker: str | None, json_: bool) -> None:
    """Show every kind of key in the server, how many there are, when they expire and what else bounds them."""
    with client(broker) as connection:
        found = survey(connection.store, connection.results)
        store = connection.store
    if json_:
        as_json([asdict(one) for one in found])
        return
    rows = []
    for one in found:
        prefix = store.namespace.prefix_of(one.key)
        rows.append((prefix + one.key.name, one.key.kind, str(one.count), expiry(one), one.key.bound))
    table(("KEY", "TYPE", "KEYS", "EXPIRES IN", "BOUND"), rows)


def expiry(held: Held) -> str:
    """When they expire, in a few words."""
    if not held.expiries_s:
        return "-"
    longest = seconds(max(held.expiries_s))
    return longest if len(held.expiries_s) == held.count else f"{longest} ({len(held.expiries_s)} of them)"
