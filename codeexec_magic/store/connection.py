"""Connections to the server: one place that knows what redis-py's defaults do to a notebook."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from codeexec_magic.broker_url import BrokerURL, redact
from codeexec_magic.errors import BrokerFull, BrokerUnreachable, ClusterError

#: seconds to wait for a connection, and for a reply beyond what a command itself may block
CONNECT_TIMEOUT_S = 2.0
REPLY_TIMEOUT_S = 10.0


def connect(url: str, reply_timeout_s: float = REPLY_TIMEOUT_S, *, binary: bool = False) -> redis.Redis:
    """A client for a Celery-style URL; it connects on first use.

    redis-py 8 retries ten times with a five-second socket timeout, which turns an unreachable server into a minute of
    silence; here one quick retry covers a connection that went stale while idle.

    Args:
        url: of the server.
        reply_timeout_s: seconds without a reply after which a connection is given up.
        binary: answers are bytes, not text.

    Raises:
        BadSetting: the URL cannot name a server.
    """
    place = BrokerURL.parse(url).check_files()
    options: dict[str, Any] = {
        "socket_connect_timeout": min(CONNECT_TIMEOUT_S, reply_timeout_s),
        "client_name": "codeexec",
        **place.connection_options(),
        # what the URL says never keeps a caller waiting for longer than it can afford
        "socket_timeout": min(place.options.get("socket_timeout", reply_timeout_s), reply_timeout_s),
        "decode_responses": not binary,
        # bytes that are no UTF-8 are shown as escapes: a damaged record must not stop whoever lists it
        "encoding_errors": "backslashreplace",
        "retry": Retry(ConstantBackoff(0.05), 1),
        "db": place.database,
        "username": place.username,
        "password": place.password,
    }
    if place.is_socket:
        options |= {"connection_class": redis.UnixDomainSocketConnection, "path": place.path}
    else:
        options |= {"host": place.host, "port": place.port, **place.tls_options()}
        options["connection_class"] = redis.SSLConnection if place.scheme == "rediss" else redis.Connection
    # a bounded pool makes a thread wait for a connection, where redis-py's default one raises
    kind = redis.BlockingConnectionPool if "max_connections" in options else redis.ConnectionPool
    return redis.Redis(connection_pool=kind(**options))


@contextmanager
def broker_errors(url: str) -> Iterator[None]:
    """Turn redis-py's connection errors into one line that names the server.

    Raises:
        BrokerUnreachable: no connection, no reply, or refused credentials.
        BrokerFull: the server's memory limit is reached.
        ClusterError: the server answers but cannot accept writes (read-only, disk error).
    """
    try:
        yield
    except (redis.ConnectionError, redis.TimeoutError) as err:
        detail = str(err).rstrip(".") or type(err).__name__
        if detail.startswith("HELLO must be called"):  # what a server says in redis-py's first exchange
            detail = "it asks for a password"
        raise BrokerUnreachable(f"cannot reach the broker at {redact(url)}: {detail}") from None
    except ValueError as err:
        if "closed file" not in str(err):
            raise
        # another thread closed this client in the middle of a read; redis-py has no error of its own for that
        raise BrokerUnreachable(f"the connection to {redact(url)} was closed") from None
    except redis.exceptions.OutOfMemoryError:
        raise BrokerFull("the broker's memory is full: nothing was queued; raise its maxmemory or purge") from None
    except redis.ResponseError as err:
        text = str(err)
        if any(sign in text for sign in ("MISCONF", "READONLY", "NOAUTH", "NOPERM", "LOADING", "DB index")):
            raise ClusterError(f"the broker at {redact(url)} refuses: {text}") from None
        raise
