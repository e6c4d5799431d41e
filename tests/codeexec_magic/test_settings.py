"""Settings from the environment."""

from __future__ import annotations

import pytest

from codeexec_magic.errors import BadSetting
from codeexec_magic.settings import WorkerSettings


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
            "CODEEXEC_ALLOW_LOOPBACK": "1",
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


def test_network_needs_leave_for_the_loopback() -> None:
    """Leave for the network alone is refused in one line that says what it opens."""
    with pytest.raises(BadSetting, match=r"CODEEXEC_ALLOW_LOOPBACK=1, too") as caught:
        WorkerSettings.from_env({"CODEEXEC_ALLOW_NETWORK": "1"})
    assert "\n" not in str(caught.value)
    assert WorkerSettings.from_env({"CODEEXEC_ALLOW_NETWORK": "1", "CODEEXEC_ALLOW_LOOPBACK": "1"}).allow_network
