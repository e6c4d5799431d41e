"""Messages that a worker may find in its list: ours are passed on, anything else is refused without another error."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import PrivateServer

from codeexec_magic.contract import TASK_NAME, ExecutionRequest
from codeexec_magic.errors import DecodeError
from codeexec_magic.settings import Settings
from codeexec_magic.store import JobStore
from codeexec_magic.store.envelope import MAX_MESSAGE, MAX_TEXT, Message, decode, encode

QUEUE = "code_execution"
EMBEDDED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)


def passed_on(item: bytes, queue: str) -> bytes:
    """What Celery sees of a message."""
    return encode(decode(item), queue)


def message(arguments: Any = ("id", 1), *, task: Any = TASK_NAME, **headers: Any) -> dict[str, Any]:
    """A message of the submit script, with these arguments and headers."""
    return {
        "body": json.dumps([arguments, {}, EMBEDDED]),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"lang": "py", "task": task, "id": "id", **headers},
        "properties": {"body_encoding": None, "delivery_tag": "id:1"},
    }


def arguments_of(item: bytes) -> Any:
    """What Celery would call the task with."""
    return json.loads(json.loads(item)["body"])[0]


def test_a_message_of_the_submit_script_is_passed_on(redis_server: PrivateServer) -> None:
    """Its arguments and label arrive, in the very envelope that the script wrote."""
    store = JobStore(redis_server.url, Settings())
    store.redis.flushall()
    task_id = str(uuid.uuid4())
    store.submit(ExecutionRequest(task_id, "1", label="a 'label'"))
    raw = str(store.redis.rpop(QUEUE))
    store.close()
    assert decode(raw.encode()) == Message(task_id, 1, "a 'label'")
    assert json.loads(passed_on(raw.encode(), QUEUE)) == json.loads(raw)


@pytest.mark.parametrize(
    ("item", "why"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 60_000, "not JSON"),
        (b"x" * (MAX_MESSAGE + 1), "65537 bytes"),
        (b"null", "not a Celery message"),
        (b'{"headers": []}', "not a Celery message"),
        (json.dumps(message(task="os.system")).encode(), "another task"),
        (json.dumps(message(task=[1])).encode(), "another task"),
        (json.dumps(message(["id", True])).encode(), "arguments"),
        (json.dumps(message(["id", "1"])).encode(), "arguments"),
        (json.dumps(message([{"id": 1}, 1])).encode(), "arguments"),
        (json.dumps(message(["id", 1, 2])).encode(), "arguments"),
        (json.dumps({**message(), "body": 5}).encode(), "arguments"),
        (json.dumps({**message(), "body": "{}"}).encode(), "arguments"),
        (json.dumps({**message(), "body": "[" * 60_000}).encode(), "arguments"),
        (json.dumps(message(["id", 0])).encode(), "range"),
        (json.dumps(message(["", 1])).encode(), "range"),
        (json.dumps(message(["id", 10**400])).encode(), "range"),
        (json.dumps(message(["i" * (MAX_TEXT + 1), 1])).encode(), "range"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_anything_else_is_refused_with_a_reason(item: bytes, why: str) -> None:
    """The reason names the fault."""
    with pytest.raises(DecodeError, match=why):
        passed_on(item, QUEUE)


def test_a_reason_shows_nothing_of_the_message() -> None:
    """Whatever a stranger wrote stays out of the log."""
    for hostile in (message(task="SECRET"), message(["SECRET" * 99, 1]), {"headers": "SECRET"}, "SECRET"):
        with pytest.raises(DecodeError) as caught:
            passed_on(json.dumps(hostile).encode(), QUEUE)
        assert "SECRET" not in str(caught.value)


@given(st.binary() | st.text().map(str.encode) | anything.map(lambda data: json.dumps(data).encode()))
def test_no_bytes_raise_anything_but_a_refusal(item: bytes) -> None:
    """Random bytes and random JSON are refused."""
    with pytest.raises(DecodeError):
        passed_on(item, QUEUE)


@given(arguments=anything | st.lists(anything, min_size=2, max_size=2), headers=st.dictionaries(st.text(), anything))
def test_headers_and_arguments_of_a_stranger_do_not_come_through(arguments: Any, headers: dict[str, Any]) -> None:
    """Of a message that asks for our task, what Celery sees is a task id, a generation and a label."""
    item = json.dumps({**message(arguments), "headers": {**headers, "task": TASK_NAME}}).encode()
    try:
        passed = json.loads(passed_on(item, QUEUE))
    except DecodeError:
        return
    task_id, generation = arguments_of(json.dumps(passed).encode())
    assert type(task_id) is str
    assert type(generation) is int
    label = headers.get("shadow")
    assert passed["headers"]["shadow"] == (label[:MAX_TEXT] if isinstance(label, str) else None)
    expected = passed_on(json.dumps(message([task_id, generation], shadow=label)).encode(), QUEUE)
    assert passed == json.loads(expected)


@given(
    task_id=st.text(min_size=1, max_size=MAX_TEXT),
    generation=st.integers(min_value=1, max_value=2**53 - 1),
    eta=anything,
    expires=anything,
)
def test_ours_come_through_whatever_else_they_carry(task_id: str, generation: int, eta: Any, expires: Any) -> None:
    """Any id and generation in range arrive unchanged, and no header delays or ends them."""
    passed = passed_on(json.dumps(message([task_id, generation], eta=eta, expires=expires)).encode(), QUEUE)
    assert arguments_of(passed) == [task_id, generation]
    headers = json.loads(passed)["headers"]
    assert headers["eta"] is None
    assert headers["expires"] is None
