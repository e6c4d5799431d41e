"""Settings from the environment."""

from __future__ import annotations

import pytest

from codeexec_magic.errors import BadSetting
from codeexec_magic.settings import Settings, WorkerSettings, check_url, database, hide_password


def test_an_empty_environment_gives_the_defaults() -> None:
    """Nothing set means the embedded cluster and the documented values."""
    settings = WorkerSettings.from_env({})
    assert settings.broker_url is None
    assert settings.queues == ("code_execution",)
    assert settings.required_isolation == 1
    assert not settings.allow_network


def test_variables_are_read_and_typed() -> None:
    """Each kind of variable arrives as its type."""
    settings = WorkerSettings.from_env(
        {
            "CELERY_BROKER_URL": "redis://h:6379/0",
            "CODEEXEC_QUEUES": "a, b",
            "CODEEXEC_SLOTS": "3",
            "CODEEXEC_ALLOW_NETWORK": "yes",
            "CODEEXEC_MAX_MEMORY_MB": "512",
            "CODEEXEC_MAX_SECONDS": "60",
            "CODEEXEC_RESULT_TTL_S": "1.5",
            "CODEEXEC_RETRIES": "0",
            "CODEEXEC_RETRY_WAITS_S": "1, 2.5",
        }
    )
    assert settings.broker_url == "redis://h:6379/0"
    assert (settings.queues, settings.slots, settings.allow_network, settings.result_ttl_s) == (
        ("a", "b"),
        3,
        True,
        1.5,
    )
    assert (settings.retries, settings.retry_waits_s) == (0, (1.0, 2.5))
    assert (settings.ceiling.memory_mb, settings.ceiling.hard_s, settings.ceiling.soft_s) == (512, 60, 60)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CODEEXEC_SLOTS", "0"),
        ("CODEEXEC_SLOTS", "two"),
        ("CODEEXEC_REQUIRED_ISOLATION", "3"),
        ("CODEEXEC_ALLOW_NETWORK", "maybe"),
        ("CODEEXEC_RESULT_TTL_S", "nan"),
        ("CODEEXEC_LEASE_S", "-1"),
        ("CODEEXEC_RETRIES", "-1"),
        ("CODEEXEC_RETRY_WAITS_S", "soon"),
        ("CELERY_BROKER_URL", "amqp://h"),
        ("CELERY_RESULT_BACKEND", "redis://"),
        ("CODEEXEC_NAMESPACE", "a b"),
        ("CODEEXEC_MAX_MEMORY_MB", "1GB"),
    ],
)
def test_nonsense_names_the_value(variable: str, value: str) -> None:
    """A bad value is one line that shows what was given."""
    with pytest.raises(BadSetting) as caught:
        WorkerSettings.from_env({variable: value})
    assert value.split("://")[0] in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("url", ["redis://h:6379/0", "rediss://:p@h/1", "redis+socket:///run/x.sock?virtual_host=2"])
def test_accepted_urls(url: str) -> None:
    """The three forms of the documentation are accepted as they are."""
    assert check_url(url) == url
    assert Settings(broker_url=url).broker_url == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost",
        "http://h",
        "redis://",
        "redis://h:port/0",
        "redis://h/zero",
        "redis+socket://",
        "redis://h:99999/0",
    ],
)
def test_refused_urls(url: str) -> None:
    """Anything else is refused and the accepted forms are shown."""
    with pytest.raises(BadSetting, match="redis://host:6379/0"):
        check_url(url)


def test_passwords_are_not_shown() -> None:
    """A URL in a message keeps its user and loses its password."""
    assert hide_password("redis://me:secret@h:1/0") == "redis://me:***@h:1/0"
    with pytest.raises(BadSetting) as caught:
        check_url("redis://me:secret@h:port/0")
    assert "secret" not in str(caught.value)


def test_database_of_the_same_server() -> None:
    """Results live in database 1 of the broker's server unless told otherwise."""
    assert database("redis://u:p@h:1/0", 1) == "redis://u:p@h:1/1"
    assert database("redis+socket:///run/x.sock?virtual_host=0", 1) == "redis+socket:///run/x.sock?virtual_host=1"
