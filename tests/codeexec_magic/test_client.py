"""The client against a real server, without any worker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support import PrivateServer

from codeexec_magic import Client
from codeexec_magic.contract import Status
from codeexec_magic.errors import (
    BadOption,
    BadSetting,
    BrokerUnreachable,
    CodeSyntaxError,
    CodeTooLarge,
    EmptyCode,
    JobNotFound,
    JobTimeout,
    LimitTooHigh,
    QueueFull,
    UnknownQueue,
)
from codeexec_magic.settings import Settings, WorkerSettings


@pytest.fixture
def client(redis_server: PrivateServer) -> Iterator[Client]:
    """A client of an empty server."""
    with Client(redis_server.url, redis_server.backend_url, settings=Settings()) as client:
        client.store.redis.flushall()
        yield client


@pytest.mark.parametrize("code", ["", "  \n\t"])
def test_an_empty_cell_is_refused(client: Client, code: str) -> None:
    """There is nothing to run, and nothing is queued."""
    with pytest.raises(EmptyCode):
        client.submit(code)
    assert client.jobs() == []


def test_a_syntax_error_is_raised_before_queueing_with_its_line(client: Client) -> None:
    """The user's line and number are in the error, and nothing is queued."""
    with pytest.raises(CodeSyntaxError) as caught:
        client.submit("a = 1\nb = = 2\n")
    assert caught.value.lineno == 2
    assert "b = = 2" in str(caught.value.text)
    assert isinstance(caught.value, SyntaxError)
    assert client.jobs() == []


@pytest.mark.parametrize(
    "code", ["%time 1", "!ls", "await f()", "x = !ls", "print?", "%%bash\necho hi", "async with a: pass"]
)
def test_notebook_syntax_is_accepted(client: Client, code: str) -> None:
    """IPython's own syntax and top-level await are no syntax errors."""
    assert client.submit(code).status is Status.QUEUED


@pytest.mark.parametrize("code", ["x = '\ud800'", "a\0b"])
def test_text_that_is_no_source_is_refused(client: Client, code: str) -> None:
    """Null bytes and lone surrogates give one clear line."""
    with pytest.raises(CodeSyntaxError) as caught:
        client.submit(code)
    assert "\n" not in str(caught.value)


def test_ten_megabytes_of_source_are_refused_with_the_limit(client: Client) -> None:
    """The message names the size, the limit and the setting."""
    with pytest.raises(CodeTooLarge, match=r"10,240 KB.*1,024 KB.*CODEEXEC_MAX_CODE_KB"):
        client.submit("#" * (10 << 20))


def test_an_unknown_queue_suggests_the_nearest(client: Client) -> None:
    """A typo is named with what was probably meant."""
    with pytest.raises(UnknownQueue, match="did you mean code_execution_heavy"):
        client.submit("1", queue="code_execution_hevy")


def test_a_queue_that_a_worker_announced_is_known(client: Client) -> None:
    """Deployments may have queues of their own."""
    client.store.heartbeat("w", ["gpu"], "env", {"ceiling": WorkerSettings().ceiling.as_dict()}, {"queues": "gpu"})
    assert client.submit("1", queue="gpu").queue == "gpu"
    assert {queue.name: queue.listeners for queue in client.queues()}["gpu"] == 1


def test_more_than_the_workers_allow_is_refused(client: Client) -> None:
    """The client knows the ceiling from the workers' announcements."""
    client.store.heartbeat("w", ["code_execution"], "env", {"ceiling": WorkerSettings().ceiling.as_dict()}, {})
    with pytest.raises(LimitTooHigh, match="memory_mb=99999"):
        client.submit("1", memory_mb=99999)


@pytest.mark.parametrize(
    "options",
    [
        {"timeout": 0},
        {"timeout": -1},
        {"timeout": "10"},
        {"memory_mb": 0},
        {"retries": -1},
        {"retries": 1.5},
        {"retry_waits": []},
        {"retry_waits": [-1]},
        {"cache": "sometimes"},
        {"limits": {"gpus": 1}},
        {"timeout": 10, "hard_timeout": 5},
        {"inputs": [1]},
        {"inputs": {"not a name": 1}},
        {"inputs": {"get_ipython": 1}},
        {"outputs": ["_"]},
        {"outputs": ["__builtins__"]},
        {"outputs": ["In"]},
    ],
)
def test_bad_options_are_one_line(client: Client, options: dict[str, object]) -> None:
    """Each names what is wrong, and nothing is queued."""
    with pytest.raises(BadOption) as caught:
        client.submit("1", **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert client.jobs() == []


def test_a_full_queue_names_its_length(redis_server: PrivateServer, client: Client) -> None:
    """Backpressure refuses with the numbers."""
    with Client(redis_server.url, settings=Settings(max_queue=1)) as small:
        small.submit("1")
        with pytest.raises(QueueFull, match="1 jobs wait, 1 are allowed"):
            small.submit("2")


def test_retries_default_to_the_deployments_setting(redis_server: PrivateServer, client: Client) -> None:
    """A job may say otherwise."""
    settings = Settings(retries=1, retry_waits_s=(2.0,))
    with Client(redis_server.url, settings=settings) as own:
        assert own.submit("1").state().retries == 1
        assert own.submit("2", retries=7).state().retries == 7
    assert client.submit("3").state().retries == 3


def test_a_job_can_be_found_and_cancelled_from_elsewhere(redis_server: PrivateServer, client: Client) -> None:
    """The id, or its beginning, is enough; Celery's result shows the outcome too."""
    from celery import Celery

    job = client.submit("1")
    with Client(redis_server.url, redis_server.backend_url) as other:
        found = other.job(job.id[:8])
        assert found.id == job.id
        assert found.cancel() is Status.CANCELLED
    assert job.result(1).reason == "cancelled"
    celery = Celery(broker=redis_server.url, backend=redis_server.backend_url)
    assert celery.AsyncResult(job.id).get(timeout=5)["status"] == "cancelled"
    with pytest.raises(JobNotFound):
        client.job("nonsense")


def test_waiting_has_an_end(client: Client) -> None:
    """A timeout of the wait leaves the job as it is and says so."""
    job = client.submit("1")
    with pytest.raises(JobTimeout, match="goes on"):
        job.result(0.05)
    assert job.status is Status.QUEUED
    assert job.state().listeners == 0


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "redis+socket:///nowhere/x.sock"])
def test_an_unreachable_server_is_named(url: str) -> None:
    """One line with the address."""
    with Client(url) as client, pytest.raises(BrokerUnreachable) as caught:
        client.submit("1")
    assert url.split("?")[0].partition("://")[2].partition("/0")[0] in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_malformed_url_is_named() -> None:
    """Before anything is tried."""
    with pytest.raises(BadSetting, match="unknown scheme"):
        Client("amqp://h")


def test_the_message_is_what_celery_sends(client: Client, redis_server: PrivateServer) -> None:
    """The envelope written by the submit script has the fields of one that Celery's own producer publishes."""
    import json

    from celery import Celery

    job = client.submit("1")
    ours = json.loads(str(client.store.redis.rpop("code_execution")))
    celery = Celery(broker=redis_server.url)
    celery.send_task("codeexec.execute", args=[job.id, 1], task_id=job.id, queue="code_execution")
    theirs = json.loads(str(client.store.redis.rpop("code_execution")))
    celery.close()
    assert ours.keys() == theirs.keys()
    assert ours["properties"].keys() == theirs["properties"].keys()
    assert set(theirs["headers"]) - set(ours["headers"]) == set()
    for header in ("lang", "task", "id", "eta", "expires", "retries", "timelimit", "root_id", "parent_id"):
        assert ours["headers"][header] == theirs["headers"][header], header
    assert json.loads(ours["body"])[0] == [job.id, 1]
