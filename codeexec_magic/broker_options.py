"""The options after the ``?`` of a broker URL: which there are, what they mean, how their text is converted."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final

#: a worker's connection pools need as many; fewer would stop it
LEAST_CONNECTIONS: Final = 10
#: seconds; the longest that a read may block is less
LEAST_TIMEOUT_S: Final = 2.0

_FLAGS: Final = {
    **dict.fromkeys(("1", "t", "true", "y", "yes", "on"), True),
    **dict.fromkeys(("0", "f", "false", "n", "no", "off"), False),
}


@dataclass(frozen=True)
class Option:
    """One option after the ``?`` of a URL."""

    convert: Callable[[str], Any]  #: raises ValueError with what the value must be
    help: str
    transport: str = ""  #: "tcp" or "tls" when only such a connection has the option


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not LEAST_TIMEOUT_S <= value <= 86_400:
        raise ValueError(f"must be a number of seconds from {LEAST_TIMEOUT_S:g} to 86400")
    return value


def _whole(least: int, most: int) -> Callable[[str], int]:
    def convert(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and len(text) < 10 and least <= int(text) <= most):
            raise ValueError(f"must be a whole number from {least} to {most}")
        return int(text)

    return convert


def _flag(text: str) -> bool:
    if text.lower() not in _FLAGS:
        raise ValueError("must be true or false")
    return _FLAGS[text.lower()]


def _word(text: str) -> str:
    if not re.fullmatch(r"[!-~]{1,200}", text):
        raise ValueError("must be printable ASCII characters without spaces")
    return text


def _text(text: str) -> str:
    return text


def _cert_reqs(text: str) -> ssl.VerifyMode:
    name = text.upper() if text.upper().startswith("CERT_") else f"CERT_{text.upper()}"
    if name not in ssl.VerifyMode.__members__:
        raise ValueError("must be required, optional or none (or CERT_REQUIRED, CERT_OPTIONAL, CERT_NONE)")
    return ssl.VerifyMode[name]


def _tls_version(text: str) -> ssl.TLSVersion:
    found = re.fullmatch(r"(?:TLS_?V?)?1[._]([23])", text, re.IGNORECASE)
    minor = int(found[1]) if found else {"771": 2, "772": 3}.get(text)
    if minor is None:
        raise ValueError("must be TLSv1.2 or TLSv1.3")
    return ssl.TLSVersion[f"TLSv1_{minor}"]


def _verify_flags(text: str) -> list[ssl.VerifyFlags]:
    names = [name.strip().upper() for name in text.strip("[]").split(",")]
    if not set(names) <= set(ssl.VerifyFlags.__members__):
        raise ValueError("must be names of ssl.VerifyFlags, like VERIFY_X509_STRICT")
    return [ssl.VerifyFlags[name] for name in names]


#: every option that is accepted, beside ``db``, ``virtual_host``, ``username`` and ``password``
OPTIONS: Final[Mapping[str, Option]] = {
    "socket_timeout": Option(_seconds, "Seconds without a reply after which a connection is given up."),
    "socket_connect_timeout": Option(_seconds, "Seconds that opening a connection may take."),
    "socket_keepalive": Option(_flag, "Whether TCP keeps idle connections alive.", "tcp"),
    "health_check_interval": Option(
        _whole(0, 86_400), "Seconds of idleness after which a connection is tested before it is used; 0: never."
    ),
    "max_connections": Option(_whole(LEAST_CONNECTIONS, 65_536), "Most connections of one connection pool."),
    "retry_on_timeout": Option(_flag, "Whether a command that timed out is sent once more."),
    "protocol": Option(_whole(2, 3), "Version of the Redis protocol."),
    "client_name": Option(_word, "Name that CLIENT LIST shows."),
    "ssl_cert_reqs": Option(
        _cert_reqs, "Check of the server's certificate: required (default), optional, none.", "tls"
    ),
    "ssl_check_hostname": Option(_flag, "Whether the certificate must name the host. Default true.", "tls"),
    "ssl_ca_certs": Option(_text, "File of certificate authorities (PEM). Default: those of the system.", "tls"),
    "ssl_ca_path": Option(_text, "Directory of certificate authorities.", "tls"),
    "ssl_ca_data": Option(_text, "Certificate authorities themselves (PEM).", "tls"),
    "ssl_certfile": Option(_text, "File of the client's certificate (PEM).", "tls"),
    "ssl_keyfile": Option(_text, "File of the client's key (PEM).", "tls"),
    "ssl_min_version": Option(_tls_version, "Oldest version of TLS that is accepted: TLSv1.2 or TLSv1.3.", "tls"),
    "ssl_ciphers": Option(_word, "Ciphers of TLS 1.2 that are accepted, in OpenSSL's notation.", "tls"),
    "ssl_include_verify_flags": Option(_verify_flags, "Flags added to the check of certificates.", "tls"),
    "ssl_exclude_verify_flags": Option(_verify_flags, "Flags taken from the check of certificates.", "tls"),
}
#: options that would fill a line
HIDDEN: Final = ("ssl_ca_data",)
#: options that name a file or directory
FILES: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_ca_path")

_OURS: Final = "codeexec sets it itself"
_OBJECT: Final = "it needs an object that a URL cannot hold"
#: options that Celery or redis-py document, and why they are refused
REFUSED: Final[Mapping[str, str]] = {
    **dict.fromkeys(("decode_responses", "encoding", "encoding_errors", "legacy_responses", "retry_on_error"), _OURS),
    **dict.fromkeys(("visibility_timeout", "fanout_prefix", "fanout_patterns", "global_keyprefix", "sep"), _OURS),
    **dict.fromkeys(("ack_emulation", "priority_steps", "queue_order_strategy", "socket_read_size"), _OURS),
    **dict.fromkeys(("credential_provider", "ssl_ocsp_context", "socket_keepalive_options"), _OBJECT),
    **dict.fromkeys(("ssl_validate_ocsp", "ssl_validate_ocsp_stapled", "ssl_ocsp_expected_cert"), _OBJECT),
    "ssl_password": "'celery inspect' would show it; use a key file without a password that only the worker can read",
    "timeout": "it belongs to a pool that we do not use; socket_timeout is the one to set",
    "host": "the host stands before the '?'",
    "port": "the port stands before the '?'",
    "path": "the path stands before the '?'",
    "ssl": "rediss:// says that",
    "master_name": "Sentinel is not supported; give the URL of the server or of a proxy in front of it",
}


def convert(name: str, text: str, scheme: str) -> Any:
    """The value of an option of a URL with this scheme.

    Args:
        name: of the option.
        text: its value in the URL, decoded.
        scheme: ``redis``, ``rediss`` or ``redis+socket``.

    Raises:
        ValueError: unknown, refused or of a wrong value; the text says so without the value.
    """
    if name in REFUSED:
        raise ValueError(f"the option {name} is not accepted: {REFUSED[name]}")
    if name not in OPTIONS:
        near = get_close_matches(name, OPTIONS, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(OPTIONS)}"
        raise ValueError(f"unknown option {name}: {hint}")
    option = OPTIONS[name]
    if option.transport == "tls" and scheme != "rediss":
        raise ValueError(f"{name} is an option of TLS: use rediss://host:6379/0")
    if option.transport == "tcp" and scheme == "redis+socket":
        raise ValueError(f"{name} is an option of TCP, which a socket of this machine does not use")
    try:
        return option.convert(text)
    except ValueError as err:
        raise ValueError(f"{name} {err}") from None
