"""Connections to the server: one place that knows what redis-py's defaults do to a notebook."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from codeexec_magic.errors import BadSetting, BrokerFull, BrokerUnreachable, ClusterError
from codeexec_magic.settings import check_url, hide_password

#: seconds to wait for a connection, and for a reply beyond what a command itself may block
CONNECT_TIMEOUT_S = 2.0
REPLY_TIMEOUT_S = 10.0


def connect(url: str, reply_timeout_s: float = REPLY_TIMEOUT_S) -> redis.Redis:
    """A client for a Celery-style URL; it connects on first use.

    redis-py 8 retries ten times with a five-second socket timeout, which turns an unreachable server into a minute of
    silence; here one quick retry covers a connection that went stale while idle.

    Args:
        url: of the server.
        reply_timeout_s: seconds without a reply after which a connection is given up.

    Raises:
        BadSetting: the URL cannot name a server.
    """
    parts = urlsplit(check_url(url))
    options: dict[str, Any] = {
        "decode_responses": True,
        "socket_connect_timeout": min(CONNECT_TIMEOUT_S, reply_timeout_s),
        "socket_timeout": reply_timeout_s,
        "retry": Retry(ConstantBackoff(0.05), 1),
        "client_name": "codeexec",
    }
    if parts.scheme == "redis+socket":
        query = parse_qs(parts.query)
        try:
            number = int(query.get("virtual_host", ["0"])[0].strip("/") or 0)
        except ValueError:
            raise BadSetting(f"broker URL {url!r}: virtual_host must be a database number") from None
        password = unquote(parts.password) if parts.password else None
        return redis.Redis(unix_socket_path=unquote(parts.path), db=number, password=password, **options)
    return redis.Redis.from_url(url, **options)


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
        raise BrokerUnreachable(f"cannot reach the broker at {hide_password(url)}: {detail}") from None
    except ValueError as err:
        if "closed file" not in str(err):
            raise
        # another thread closed this client in the middle of a read; redis-py has no error of its own for that
        raise BrokerUnreachable(f"the connection to {hide_password(url)} was closed") from None
    except redis.exceptions.OutOfMemoryError:
        raise BrokerFull("the broker's memory is full: nothing was queued; raise its maxmemory or purge") from None
    except redis.ResponseError as err:
        text = str(err)
        if any(sign in text for sign in ("MISCONF", "READONLY", "NOAUTH", "NOPERM", "LOADING")):
            raise ClusterError(f"the broker at {hide_password(url)} refuses: {text}") from None
        raise
