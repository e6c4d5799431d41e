"""Reads what comes off the broker's lists before kombu and Celery do.

Kombu decodes what BRPOP returns outside of any guard, and Celery trusts a message's headers: seen on 5.7.0, an entry
that is not JSON, holds no object or names its task by a list ended the worker's main process. So a message is read here
first. One that asks for our task, as the submit script writes it, is passed on with nothing in it but what we know; any
other is counted, told to the log without its content, and forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Any, ClassVar, Final

from kombu.transport import TRANSPORT_ALIASES
from kombu.transport.redis import Channel, PrefixedStrictRedis, Transport

from codeexec_magic.broker_url import BrokerURL
from codeexec_magic.errors import DecodeError
from codeexec_magic.store.connection import CONNECT_TIMEOUT_S, REPLY_TIMEOUT_S
from codeexec_magic.store.envelope import decode, encode

#: what CLIENT LIST shows of Celery's own connections
CLIENT_NAME: Final = "codeexec-worker"
Complaint = Callable[[str, str], None]


class CodeexecClient(PrefixedStrictRedis):
    """Reads a worker's lists; what it cannot pass on looks like a read that found nothing.

    Replies to Celery's own commands come by lists too, which :func:`install` does not name.
    """

    queues: ClassVar[Collection[str]]
    complain: ClassVar[Complaint]

    def parse_response(self, connection: Any, command_name: Any, **options: Any) -> Any:
        """The reply to a command; of BRPOP only messages that ask for our task, made anew from what they say."""
        answer = super().parse_response(connection, command_name, **options)  # type: ignore[no-untyped-call]
        if command_name != "BRPOP" or not answer:
            return answer
        name, item = answer
        queue = name.decode(errors="replace")
        if queue not in self.queues:
            return answer
        try:
            return [name, encode(decode(item), queue)]
        except DecodeError as err:
            type(self).complain(queue, str(err))
            return None


class CodeexecChannel(Channel):
    """Reads through :class:`CodeexecClient`, on connections made from our own reading of the broker's URL."""

    broker: ClassVar[BrokerURL]

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        params: dict[str, Any] = super()._connparams(asynchronous=asynchronous)  # type: ignore[no-untyped-call]
        # kombu waits for ever by default: a connection that went half open under its timers stopped the main loop
        wanted = {
            "socket_timeout": REPLY_TIMEOUT_S,
            "socket_connect_timeout": CONNECT_TIMEOUT_S,
            "client_name": CLIENT_NAME,
            **({} if self.broker.is_socket else {"socket_keepalive": True}),
            **self.broker.connection_options(),
            "username": self.broker.username,
            "password": self.broker.password,
        }
        return {**params, **wanted}

    def _get_client(self) -> Callable[..., CodeexecClient]:
        super()._get_client()  # type: ignore[no-untyped-call]  # checks the version
        return partial(CodeexecClient, global_keyprefix=self.global_keyprefix)


class CodeexecTransport(Transport):
    """Kombu's Redis transport with a guarded inbox."""

    Channel = CodeexecChannel


def install(queues: Collection[str], complain: Complaint, broker: BrokerURL) -> None:
    """Let every Redis connection that kombu opens in this process read through the inbox.

    By the names of kombu's own transport: a ``redis+socket`` URL names it itself, whatever Celery's settings say.

    Args:
        queues: lists that hold nothing but jobs.
        complain: called with the queue of a message that was turned away, and why.
        broker: where the connections go.
    """
    CodeexecChannel.broker = broker
    CodeexecClient.queues = frozenset(queues)
    CodeexecClient.complain = staticmethod(complain)
    for scheme in ("redis", "rediss"):
        TRANSPORT_ALIASES[scheme] = f"{__name__}:{CodeexecTransport.__name__}"
