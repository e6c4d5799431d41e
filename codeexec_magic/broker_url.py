"""The address of a Redis or Valkey server: the only parser of broker URLs, for clients and workers alike.

Celery and redis-py read the same URL differently: an option that one of them documents ends the other one. Both are
therefore given the parts that are parsed here, never the text. Standard library only.
"""

from __future__ import annotations

import ipaddress
import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

from codeexec_magic.broker_options import FILES, HIDDEN, OPTIONS, convert
from codeexec_magic.errors import BadSetting

#: what every message about a URL ends with
FORMS: Final = "use redis://host:6379/0, rediss://host:6379/0 or redis+socket:///path/to.sock"
DEFAULT_PORT: Final = 6379
_ENCODING: Final = (
    "write special characters of user, password and path percent-encoded: %23 for #, %2F for /, %3F for ?, %40 for @"
)
_SOCKET: Final = "redis+socket"
_ALIASES: Final = {"unix": _SOCKET}


@dataclass(frozen=True, repr=False)
class BrokerURL:
    """A server's address, with credentials. ``str()`` and ``repr()`` leave the secrets out."""

    scheme: str  #: redis, rediss or redis+socket
    host: str = ""
    port: int = DEFAULT_PORT
    path: str = ""  #: of the socket
    database: int = 0
    username: str | None = None
    password: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)  #: converted, by their names in ``broker_options.OPTIONS``
    texts: Mapping[str, str] = field(default_factory=dict)  #: the same as they were written

    @classmethod
    def parse(cls, text: str) -> BrokerURL:
        """Parse a URL.

        Raises:
            BadSetting: it cannot name a server, or holds something that would be ignored; the text has no secret.
        """
        parts = _split(text)
        base = _address(parts)
        try:
            return _with_options(base, parts.query, named=bool(parts.path.strip("/")) and not base.is_socket)
        except ValueError as err:
            raise BadSetting(f"broker URL {str(base)!r}: {err}") from None

    @property
    def url(self) -> str:
        """The whole URL, secrets included, in the one form that :meth:`parse` gives back unchanged."""
        return self._text(self.password, self.texts)

    @property
    def address(self) -> str:
        """The URL without credentials and options, as Celery gets it."""
        return replace(self, username=None)._text(None, {})

    @property
    def is_socket(self) -> bool:
        """Whether it names a Unix socket."""
        return self.scheme == _SOCKET

    def with_database(self, number: int) -> BrokerURL:
        """Another database of the same server."""
        return replace(self, database=number)

    def tls_options(self) -> dict[str, Any]:
        """The ``ssl_`` arguments of a connection; empty without TLS. A certificate is required by default."""
        if self.scheme != "rediss":
            return {}
        given = {name: value for name, value in self.options.items() if OPTIONS[name].transport == "tls"}
        return {"ssl_cert_reqs": ssl.CERT_REQUIRED, **given}

    def connection_options(self) -> dict[str, Any]:
        """The options that are not about TLS, as redis-py's connections take them."""
        return {name: value for name, value in self.options.items() if OPTIONS[name].transport != "tls"}

    def check_files(self) -> BrokerURL:
        """Return the URL if the files it names can be read.

        Raises:
            BadSetting: one cannot.
        """
        for name in FILES:
            if name in self.options and not os.access(self.options[name], os.R_OK):
                raise BadSetting(f"broker URL {str(self)!r}: {name} names no file that can be read")
        return self

    def __str__(self) -> str:
        hidden = {name: "***" if name in HIDDEN else text for name, text in self.texts.items()}
        if self.password:
            return self._text("***", hidden, safe="*")
        # a user without a password is most often a password that lacks its ':'
        return replace(self, username="***" if self.username else None)._text(None, hidden, safe="*")

    def __repr__(self) -> str:
        return f"BrokerURL({str(self)!r})"

    def _text(self, password: str | None, texts: Mapping[str, str], safe: str = "") -> str:
        login = quote(self.username or "", safe=safe) + ("" if password is None else f":{quote(password, safe=safe)}")
        login += "@" if login else ""
        options = {"virtual_host": str(self.database), **texts} if self.is_socket else texts
        query = "&".join(f"{name}={quote(text, safe=safe + '/,')}" for name, text in options.items())
        if self.is_socket:
            place = quote(self.path)
        else:
            place = f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}/{self.database}"
        return f"{self.scheme}://{login}{place}{'?' if query else ''}{query}"


def redact(text: str) -> str:
    """A URL as it may be shown: without secrets. What cannot be parsed is not shown at all but for its scheme."""
    try:
        return str(BrokerURL.parse(text))
    except BadSetting:
        return _outline(text)


def _outline(text: str) -> str:
    """What may be shown of a text that is no URL: nothing in which a password could stand."""
    scheme, separator, _ = text.partition("://")
    if separator and re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]{0,20}", scheme):
        return f"{scheme}://***"
    return text if re.fullmatch(r"[A-Za-z0-9.-]*(:\d{1,5})?(/\d{0,5})?", text) else "***"


def _split(text: str) -> SplitResult:
    def refuse(why: str) -> BadSetting:
        return BadSetting(f"broker URL {_outline(text)!r} {why}: {FORMS}")

    if not isinstance(text, str):
        raise BadSetting(f"broker URL must be text, not {type(text).__name__}: {FORMS}")
    if any(c.isspace() or not c.isprintable() for c in text):
        raise refuse("holds white space or control characters")
    scheme = text.partition("://")[0].lower()
    if scheme in ("sentinel", "redis+sentinel", "rediss+sentinel"):
        raise refuse("names sentinels, which are not supported; give the server's own URL, or a proxy's in front of it")
    if _ALIASES.get(scheme, scheme) not in ("redis", "rediss", _SOCKET):
        raise refuse("has an unknown scheme")
    if re.search(r";\w+(\+\w+)?://", text):
        raise refuse("is a list; one server only")
    try:
        parts = urlsplit(text)
    except ValueError:  # its text quotes the URL
        raise refuse(f"is malformed ({_ENCODING})") from None
    try:
        _ = parts.port
    except ValueError:
        raise refuse(f"has a port that is no number from 1 to 65535 ({_ENCODING})") from None
    if "#" in text or "@" in parts.path + parts.query:
        raise refuse(f"is malformed ({_ENCODING})")
    return parts


def _address(parts: SplitResult) -> BrokerURL:
    def refuse(why: str) -> BadSetting:
        return BadSetting(f"broker URL '{parts.scheme}://***' {why}: {FORMS}")

    scheme = _ALIASES.get(parts.scheme, parts.scheme)
    login, at, place = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    found = BrokerURL(scheme, username=unquote(user) or None, password=unquote(password) or None)
    if scheme == _SOCKET:
        if place:
            raise refuse("has a host before the path of the socket; a path begins with a third '/'")
        path = unquote(parts.path)
        if not path.strip("/") or "\0" in path:
            raise refuse("names no socket")
        return replace(found, path=path)
    host = unquote(parts.hostname or "")
    if not host:
        raise refuse("names no host" if at or not login else f"names no host ({_ENCODING})")
    if not _is_host(host):
        raise refuse(f"has a host that cannot be one ({_ENCODING})")
    number = unquote(parts.path).strip("/")
    if number and not (number.isascii() and number.isdecimal() and len(number) < 6):
        raise refuse("must name its database by a number")
    return replace(found, host=host, port=parts.port or DEFAULT_PORT, database=int(number or 0))


def _is_host(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return bool(re.fullmatch(r"[\w.-]+", host)) and ":" not in host
    return True


def _with_options(base: BrokerURL, query: str, named: bool) -> BrokerURL:
    """The address with the options of a query.

    Args:
        base: the address.
        query: what follows the ``?``.
        named: whether the path names the database already.

    Raises:
        ValueError: with the reason.
    """
    given: dict[str, str] = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        if name in given:
            raise ValueError(f"{name} is given twice")
        if not re.fullmatch(r"[a-z_]{1,40}", name):
            raise ValueError(f"its options are malformed ({_ENCODING})")
        if not text:
            raise ValueError(f"{name} has no value")
        given[name] = text
    base = _credentials(_numbered(base, given, named), given)
    options = {name: convert(name, text, base.scheme) for name, text in given.items()}
    return replace(base, options=MappingProxyType(options), texts=MappingProxyType(given))


def _numbered(base: BrokerURL, given: dict[str, str], named: bool) -> BrokerURL:
    numbers = {base.database} if named else set()
    for name in ("db", "virtual_host"):
        if name in given:
            text = given.pop(name).strip("/")
            if not (text.isascii() and text.isdecimal() and len(text) < 6):
                raise ValueError(f"{name} must be the number of a database")
            numbers.add(int(text))
    if len(numbers) > 1:
        raise ValueError("it names two databases")
    return replace(base, database=numbers.pop() if numbers else 0)


def _credentials(base: BrokerURL, given: dict[str, str]) -> BrokerURL:
    username, password = given.pop("username", base.username), given.pop("password", base.password)
    if base.username not in (None, username):
        raise ValueError("it names two users")
    if base.password not in (None, password):
        raise ValueError("it gives two passwords")
    return replace(base, username=username, password=password)
