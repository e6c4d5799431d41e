"""The settings as tables: for ``codeexec doctor --settings`` and for ``docs/reference/settings.md``.

``python -m codeexec_magic.settings_reference > docs/reference/settings.md`` writes the page; a test compares it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from codeexec_magic.broker_options import OPTIONS, REFUSED
from codeexec_magic.broker_url import redact
from codeexec_magic.settings import CEILING, DEFAULT_CEILING, ClusterSettings, Settings, WorkerSettings
from codeexec_magic.variable import Variable, text_of, variables


@dataclass(frozen=True)
class Row:
    """One variable as it is shown."""

    name: str
    default: str
    unit: str
    help: str
    value: str = ""  #: in the environment; secrets are left out


SECTIONS: Final = {
    "Clients and workers": Settings,
    "Workers": WorkerSettings,
    "The embedded cluster": ClusterSettings,
}

_HEAD: Final = """\
# Settings

Settings are environment variables. An empty variable counts as unset. A value that makes no sense is refused before
anything starts. `codeexec doctor --settings` prints this list with the values in force.

This page is generated: `python -m codeexec_magic.settings_reference > docs/reference/settings.md`.
"""

_URLS: Final = """
## Broker URLs

`CELERY_BROKER_URL`, `CELERY_RESULT_BACKEND`, `--broker` and `Client(broker_url=...)` take:

| form | server |
|---|---|
| `redis://user:password@host:6379/0` | over TCP |
| `rediss://user:password@host:6379/0` | over TLS |
| `redis+socket://user:password@/path/to.sock?virtual_host=0` | on a Unix socket; `unix://` means the same |

Everything but the host (or the path) may be left out. The database stands in the path, or in `db` or `virtual_host`;
user and password may stand in `username` and `password`. Special characters are percent-encoded: `%23` for `#`,
`%2F` for `/`, `%3F` for `?`, `%40` for `@`. Client and worker read a URL in the same way; options that either of them
would ignore are refused. Sentinel and Cluster are not supported.

| option | meaning | only with |
|---|---|---|
"""


def rows(kind: type[Settings] | type[ClusterSettings], env: Mapping[str, str] | None = None) -> Iterator[Row]:
    """The variables that a class of settings adds to those it inherits.

    Args:
        kind: the class.
        env: the environment, if values are wanted.
    """
    env = env or {}
    inherited = {variable.name for base in kind.__mro__[1:-1] for _, variable, _ in variables(base)}
    for _, variable, default in variables(kind):
        if variable.name not in inherited:
            yield _row(variable, default, env)
    if kind is WorkerSettings:
        for name, variable in CEILING.items():
            yield _row(variable, getattr(DEFAULT_CEILING, name), env)


def _row(variable: Variable, default: object, env: Mapping[str, str]) -> Row:
    value = env.get(variable.name, "")
    if variable.secret and value:
        value = redact(value) if variable.name.startswith("CELERY_") else "***"
    return Row(variable.name, variable.default or text_of(default), variable.unit, variable.help, value)


def page() -> str:
    """The page of the documentation."""
    parts = [_HEAD]
    for title, kind in SECTIONS.items():
        parts.append(f"\n## {title}\n\n| variable | default | unit | meaning |\n|---|---|---|---|\n")
        parts += [f"| `{row.name}` | {row.default} | {row.unit} | {row.help} |\n" for row in rows(kind)]
    parts.append(_URLS)
    kinds = {"tcp": "TCP, TLS", "tls": "TLS", "": ""}
    parts += [f"| `{name}` | {option.help} | {kinds[option.transport]} |\n" for name, option in OPTIONS.items()]
    parts.append("\nThese options of Celery or redis-py are refused:\n\n| option | why |\n|---|---|\n")
    parts += [f"| `{name}` | {why} |\n" for name, why in REFUSED.items()]
    return "".join(parts)


if __name__ == "__main__":
    print(page(), end="")
