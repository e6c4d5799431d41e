"""The store's scripts: how they are loaded and called."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

import redis

from codeexec_magic.contract import bare_prefix, key_prefix
from codeexec_magic.settings import Settings
from codeexec_magic.store.connection import REPLY_TIMEOUT_S, broker_errors, connect


@cache
def source(name: str) -> str:
    """The text of a script, with what all of them share."""
    folder = files("codeexec_magic.store").joinpath("lua")
    return folder.joinpath("common.lua").read_text() + folder.joinpath(f"{name}.lua").read_text()


class Scripts:
    """A connection to the server and the scripts in ``lua/``, each call one round trip.

    Args:
        url: broker URL; the record lives in the broker's database.
        settings: namespace, expiries and caps.
        reply_timeout_s: seconds without a reply after which a connection is given up.
    """

    def __init__(self, url: str, settings: Settings, reply_timeout_s: float = REPLY_TIMEOUT_S) -> None:
        self.url, self.settings = url, settings
        self.redis: redis.Redis = connect(url, reply_timeout_s)
        self.prefix, self.bare = key_prefix(settings.namespace), bare_prefix(settings.namespace)
        self._scripts: dict[str, Any] = {}

    def call(self, name: str, *arguments: Any) -> Any:
        """Run a script and return its answer.

        Raises:
            ClusterError: the broker is away, or refuses.
        """
        script = self._scripts.get(name)
        if script is None:
            script = self._scripts[name] = self.redis.register_script(source(name))
        with broker_errors(self.url):
            return script(args=(self.prefix, self.bare, *arguments))

    def now(self) -> int:
        """The server's clock, in milliseconds."""
        with broker_errors(self.url):
            seconds, micros = self.redis.time()
        return int(seconds) * 1000 + int(micros) // 1000

    def close(self) -> None:
        """Close the connections."""
        self.redis.close()


def dumps(data: Any) -> str:
    """JSON without blanks."""
    return json.dumps(data, separators=(",", ":"), allow_nan=False)


def ms(seconds: float) -> int:
    """Whole milliseconds."""
    return round(seconds * 1000)
