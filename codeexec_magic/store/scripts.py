"""The store's scripts: how they are loaded and called."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files
from typing import Any, Final

import redis

from codeexec_magic.settings import Settings
from codeexec_magic.store import envelope
from codeexec_magic.store.connection import REPLY_TIMEOUT_S, broker_errors, connect
from codeexec_magic.store.keys import Namespace, lua_definitions

#: a worker that was silent for longer than this does not count as listening (seconds)
LISTENING_S: Final = 6.0
#: upper bounds of the histograms' buckets (ms); one more bucket has no bound
BUCKETS: Final = (10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 120_000, 300_000)
#: a line that is a comment
_COMMENT: Final = re.compile(r"^[ ]*--.*\n", re.MULTILINE)


@cache
def source(name: str) -> str:
    """The text of a script, with what all of them share."""
    folder = files("codeexec_magic.store").joinpath("lua")
    bounds = ", ".join(str(bound) for bound in BUCKETS)
    constants = f"local LISTENING, BUCKETS = {ms(LISTENING_S)}, {{{bounds}}}\n"
    scripts = folder.joinpath("common.lua").read_text() + folder.joinpath(f"{name}.lua").read_text()
    # the server compiles and keeps every script: comments stay with us
    return lua_definitions() + envelope.lua_definition() + constants + _COMMENT.sub("", scripts)


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
        self.namespace = Namespace(settings.namespace)
        self.key = self.namespace.key
        self.prefix, self.bare = self.namespace.prefix, self.namespace.bare
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
