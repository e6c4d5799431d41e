"""The one parser of broker URLs: what it accepts, what it refuses, what it shows."""

from __future__ import annotations

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeexec_magic.broker_options import OPTIONS, REFUSED
from codeexec_magic.broker_url import BrokerURL, redact
from codeexec_magic.errors import BadSetting
from codeexec_magic.settings import Settings, WorkerSettings

PASSWORD = "p#a/s?s@w:o;r[d%"
ENCODED = "p%23a%2Fs%3Fs%40w%3Ao%3Br%5Bd%25"


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("redis://h", "redis://h:6379/0"),
        ("redis://h:1/0/", "redis://h:1/0"),
        ("REDIS://h/2", "redis://h:6379/2"),
        ("redis://h?db=3", "redis://h:6379/3"),
        ("redis://h/3?db=3", "redis://h:6379/3"),
        ("redis://h?virtual_host=3", "redis://h:6379/3"),
        ("redis://[::1]:7/2", "redis://[::1]:7/2"),
        ("redis://u:p@ss@h/0", "redis://u:p%40ss@h:6379/0"),
        ("redis://h?username=u&password=p%23", "redis://u:p%23@h:6379/0"),
        ("redis://u@h?password=p", "redis://u:p@h:6379/0"),
        ("redis+socket:///run/x.sock", "redis+socket:///run/x.sock?virtual_host=0"),
        ("redis+socket:///run/x.sock?db=2", "redis+socket:///run/x.sock?virtual_host=2"),
        ("unix://me@/run/a%20b.sock?db=1&password=p", "redis+socket://me:p@/run/a%20b.sock?virtual_host=1"),
        ("rediss://:p@h/1?ssl_cert_reqs=CERT_NONE", "rediss://:p@h:6379/1?ssl_cert_reqs=CERT_NONE"),
    ],
)
def test_accepted_forms(text: str, whole: str) -> None:
    """What Celery and redis-py document becomes one form, which is read back as the same address."""
    url = BrokerURL.parse(text)
    assert url.url == whole
    assert BrokerURL.parse(whole) == url
    assert Settings(broker_url=text).broker_url == text
    assert WorkerSettings.from_env({"CELERY_BROKER_URL": text}).broker_url == whole


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "unknown scheme"),
        ("localhost:6379", "unknown scheme"),
        ("http://h", "unknown scheme"),
        ("amqp://u:secret@h", "unknown scheme"),
        ("redis://", "names no host"),
        ("redis:///0", "names no host"),
        ("redis://h:port/0", "port"),
        ("redis://h:99999/0", "port"),
        ("redis://u:secret", "port"),
        ("redis://h/zero", "by a number"),
        ("redis://h/1/2", "by a number"),
        ("redis://h/²", "by a number"),
        ("redis+socket://", "names no socket"),
        ("redis+socket:///", "names no socket"),
        ("redis+socket://secret/run/x.sock", "third '/'"),
        ("redis://h ", "white space"),
        ("redis://u:sec\nret@h", "white space"),
        ("sentinel://h:26379/0", "not supported"),
        ("redis://a:1/0;redis://b:1/0", "one server only"),
        ("redis://:sec#ret@h/0", "%23"),
        ("redis://:sec/ret@h/0", "%2F"),
        ("redis://:sec?ret@h/0", "%3F"),
        ("redis://:sec[ret@h/0", "%40"),
        ("redis://:secret@h℀/0", "malformed"),
    ],
)
def test_refused_addresses(text: str, why: str) -> None:
    """Anything else is refused in one line that shows the accepted forms, and nothing of a password."""
    with pytest.raises(BadSetting) as caught:
        BrokerURL.parse(text)
    assert why in str(caught.value)
    assert "redis://host:6379/0" in str(caught.value)
    for secret in ("secret", "sec", "ret@"):
        assert secret not in str(caught.value).replace("secrets", "")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("socket_timout=3", "did you mean socket_timeout?"),
        ("nonsense=3", "unknown option nonsense: there are"),
        ("decode_responses=true", "codeexec sets it itself"),
        ("socket_timeout=soon", "socket_timeout must be a number of seconds"),
        ("socket_timeout=0", "socket_timeout must be a number of seconds"),
        ("health_check_interval=-1", "health_check_interval must be a whole number"),
        ("max_connections=1", "max_connections must be a whole number from 10"),
        ("retry_on_timeout=maybe", "true or false"),
        ("protocol=4", "from 2 to 3"),
        ("db=1&db=2", "twice"),
        ("db=", "no value"),
        ("db=x", "number of a database"),
        ("db=1&virtual_host=2", "two databases"),
        ("password=a", "two passwords"),
        ("username=other", "two users"),
        ("ssl_cert_reqs=none", "use rediss://"),
        ("client_name=a%20b", "without spaces"),
        ("Secret!=1", "malformed"),
    ],
)
def test_refused_options(query: str, why: str) -> None:
    """An option that would be ignored, or would end one side, is refused by name and with what it must be."""
    with pytest.raises(BadSetting) as caught:
        BrokerURL.parse(f"redis://me:hidden@h?{query}")
    assert why in str(caught.value)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("text", ["required", "CERT_REQUIRED", "optional", "CERT_OPTIONAL", "none", "CERT_NONE"])
def test_spellings_of_certificate_checks(text: str) -> None:
    """redis-py's and Celery's words for the check of certificates mean the same."""
    options = BrokerURL.parse(f"rediss://h?ssl_cert_reqs={text}").tls_options()
    assert options["ssl_cert_reqs"] is ssl.VerifyMode[f"CERT_{text.upper().removeprefix('CERT_')}"]


def test_certificates_are_required_by_default() -> None:
    """TLS without a word on certificates is not TLS without their check, which is kombu's default."""
    assert BrokerURL.parse("rediss://h").tls_options() == {"ssl_cert_reqs": ssl.CERT_REQUIRED}


def test_files_that_cannot_be_read(tmp_path: object) -> None:
    """A certificate that is not there is said before anything starts."""
    with pytest.raises(BadSetting, match="ssl_ca_certs names no file that can be read"):
        BrokerURL.parse(f"rediss://h?ssl_ca_certs={tmp_path}/none.pem").check_files()


def test_socket_has_no_tcp_options() -> None:
    """An option of TCP is refused for a socket, where redis-py ends with a TypeError."""
    with pytest.raises(BadSetting, match="socket_keepalive is an option of TCP"):
        BrokerURL.parse("unix:///run/x.sock?socket_keepalive=true")


@pytest.mark.parametrize(
    "text",
    [
        f"redis://me:{ENCODED}@h:1/0",
        f"redis://:{ENCODED}@h:1/0",
        f"redis://h:1/0?password={ENCODED}",
        f"redis+socket://:{ENCODED}@/run/x.sock?virtual_host=1",
        f"unix:///run/x.sock?password={ENCODED}",
        f"redis://me:{PASSWORD}@h:1/0",
        f"redis+socket://:{PASSWORD}@/run/x.sock",
        f"redis://h:1/0?password={PASSWORD}",
        f"rediss://h:1/0?ssl_password={ENCODED}",
        f"redis://{ENCODED}@h",
        f"redis://{PASSWORD}",
        f"amqp://:{ENCODED}@h",
        PASSWORD,
    ],
)
def test_no_password_is_shown(text: str) -> None:
    """Wherever a password stands in a URL, encoded or not, no part of it is shown by any way to show the URL."""
    shown = [redact(text)]
    try:
        url = BrokerURL.parse(text)
        shown += [str(url), repr(url), f"{url}", url.address, repr(Settings(broker_url=text))]
    except BadSetting as err:
        shown += [str(err)]
    try:
        Settings.from_env({"CELERY_BROKER_URL": text})
    except BadSetting as err:
        shown += [str(err)]
    for line in shown:
        for part in ("p#a", "p%23a", "s@w", "s%40w", "r[d"):
            assert part not in line


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"])))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    """No text after a scheme ends in anything but an address or one line."""
    for scheme in ("redis://", "rediss://:", "redis+socket://", "unix://", ""):
        try:
            url = BrokerURL.parse(scheme + text)
        except BadSetting as err:
            assert "\n" not in str(err)  # noqa: PT017 -- most texts are refused, some are not
        else:
            assert BrokerURL.parse(url.url).url == url.url


@given(st.text(min_size=6, alphabet=st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"])))
def test_any_password_is_hidden(password: str) -> None:
    """A password is not shown, however it is written into the URL."""
    marked = f"QQQQ{password}"
    for text in (f"redis://u:{marked}@h/0", f"redis+socket://:{marked}@/p", f"redis://h/0?password={marked}", marked):
        assert "QQQQ" not in redact(text) or redact(text) == text == marked


def test_refused_options_have_reasons() -> None:
    """No option is both accepted and refused."""
    assert not set(OPTIONS) & set(REFUSED)


def test_database_of_the_same_server() -> None:
    """Results live in database 1 of the broker's server unless told otherwise, with all its options."""
    url = BrokerURL.parse("redis://u:p@h:1/0?health_check_interval=5")
    assert url.with_database(1).url == "redis://u:p@h:1/1?health_check_interval=5"
    assert BrokerURL.parse("redis+socket:///x").with_database(1).url == "redis+socket:///x?virtual_host=1"
