"""The wire contract."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeexec_magic.contract import (
    DEFAULT_LIMITS,
    ErrorInfo,
    ExecutionRequest,
    ExecutionResult,
    Reason,
    Status,
    cache_key,
    code_hash,
    decode_event,
)
from codeexec_magic.errors import DecodeError, NoValue
from codeexec_magic.limits import Limits
from codeexec_magic.values.ref import ValueRef

#: a small value as a request has it
ONE = ValueRef.inline(b"1", "safe", "int")
SEED_KEYS = {
    "task_id",
    "code_hash",
    "success",
    "stdout",
    "stderr",
    "returncode",
    "execution_time_ms",
    "memory_used_mb",
    "retry_count",
    "timestamp",
    "worker_id",
}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def test_the_code_hash_is_of_the_code_alone() -> None:
    """Anybody can compute it from the UTF-8 bytes."""
    assert code_hash("print('ü')") == "sha256:" + hashlib.sha256("print('ü')".encode()).hexdigest()
    assert code_hash("\ud800").startswith("sha256:")


def test_a_result_has_the_keys_of_the_seed() -> None:
    """Programs written for the seed find every key they know, and the streams derived from the events."""
    result = ExecutionResult(
        "t",
        code_hash("1"),
        True,
        Status.SUCCEEDED,
        Reason.OK,
        outputs=(
            {"type": "stream", "name": "stdout", "text": "a"},
            {"type": "stream", "name": "stderr", "text": "e"},
            {"type": "stream", "name": "stdout", "text": "b"},
        ),
    )
    data = result.as_dict()
    assert data.keys() >= SEED_KEYS
    assert (result["stdout"], result["stderr"]) == ("ab", "e")
    assert ExecutionResult.from_dict(json.loads(json.dumps(data))) == result


def test_a_request_survives_the_wire() -> None:
    """Encoding and decoding gives the same request."""
    request = ExecutionRequest("t", "1", inputs={"a": ONE}, outputs=("x",), retries=1, retry_waits_s=(1.5,))
    assert ExecutionRequest.from_dict(json.loads(json.dumps(request.as_dict()))) == request


@given(json_values)
def test_nonsense_is_a_decode_error(data: object) -> None:
    """Whatever JSON arrives, decoding raises the one named error."""
    for decode in (ExecutionRequest.from_dict, ExecutionResult.from_dict, ErrorInfo.from_dict, decode_event):
        with pytest.raises(DecodeError):
            decode(data)


DAMAGE = (None, [{}], -1, math.nan, True, {"memory_mb": "x"}, {"nonsense": 1})
#: what would be legal there
LEGAL = {"network": (True,)}


@pytest.mark.parametrize(
    ("field", "value"),
    [(name, bad) for name in ExecutionRequest("t", "1").as_dict() for bad in DAMAGE if bad not in LEGAL.get(name, ())],
)
def test_a_damaged_request_is_refused(field: str, value: object) -> None:
    """One field of the wrong type or range makes the whole request a decode error."""
    with pytest.raises(DecodeError):
        ExecutionRequest.from_dict({**ExecutionRequest("t", "1").as_dict(), field: value})


def test_an_unknown_limit_is_refused_but_an_unknown_result_field_is_not() -> None:
    """A limit nobody enforces must not be accepted; a newer worker may tell more than we know."""
    with pytest.raises(DecodeError, match="gpu"):
        ExecutionRequest.from_dict({**ExecutionRequest("t", "1").as_dict(), "gpu": 1})
    result = ExecutionResult("t", "h", True, Status.SUCCEEDED, Reason.OK)
    assert ExecutionResult.from_dict({**result.as_dict(), "gpu": 1}) == result


def test_the_seeds_limits() -> None:
    """The defaults are the seed's."""
    normal, heavy = DEFAULT_LIMITS["code_execution"], DEFAULT_LIMITS["code_execution_heavy"]
    assert (normal.memory_mb, normal.cpu_s, normal.file_mb, normal.processes) == (1024, 120, 100, 10)
    assert (normal.soft_s, normal.hard_s) == (90, 120)
    assert (heavy.soft_s, heavy.hard_s) == (240, 300)


def test_the_cache_key_tells_runs_apart() -> None:
    """Whatever changes what a cell may compute changes the key; its id and label do not."""
    base = ExecutionRequest("t", "1", limits=Limits(soft_s=30))
    keys = {
        cache_key(base),
        cache_key(ExecutionRequest("t", "2", limits=Limits(soft_s=30))),
        cache_key(ExecutionRequest("t", "1", limits=Limits(soft_s=30), inputs={"a": ONE})),
        cache_key(ExecutionRequest("t", "1", limits=Limits(soft_s=31))),
        cache_key(ExecutionRequest("t", "1", limits=Limits(soft_s=30), network=True)),
        cache_key(ExecutionRequest("t", "1", limits=Limits(soft_s=30), outputs=("a",))),
    }
    assert len(keys) == 6
    assert cache_key(ExecutionRequest("other", "1", limits=Limits(soft_s=30.0), label="x")) == cache_key(base)


def test_terminal_states() -> None:
    """Four states are final."""
    assert {status for status in Status if status.terminal} == {
        Status.SUCCEEDED,
        Status.FAILED,
        Status.DEAD_LETTERED,
        Status.CANCELLED,
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2", 2),
        ("'a\\n'", "a\n"),
        ("[1, (2.5, None)]", [1, (2.5, None)]),
        ("{'a': b'x', 'b': {1}}", {"a": b"x", "b": {1}}),
    ],
)
def test_the_last_expression_comes_back_as_data(text: str, value: Any) -> None:
    """Plain data of every kind; nothing is evaluated but literals."""
    assert _shown(text).value == value


@pytest.mark.parametrize("text", ["<object at 0x1>", "[0, 1, ...]", "Ellipsis", "...", "f(1)", "(" * 9000, None, "nan"])
def test_what_is_no_data_is_not_taken_for_data(text: Any) -> None:
    """A shortened list is none either; the error says what to do."""
    with pytest.raises(NoValue, match="outputs="):
        _ = _shown(text).value


def test_a_cell_that_shows_nothing_has_no_value() -> None:
    """It ended in no expression."""
    result = ExecutionResult("t", "h", True, Status.SUCCEEDED, Reason.OK)
    assert result.value is None


def test_a_result_is_shown_in_one_line_and_an_error_without_colours() -> None:
    """What the cell wrote controls no terminal."""
    error = ErrorInfo("E", "bad\x1b[31m", ("\x1b[31mTraceback\x1b[0m", "E: bad\x1b]0;title\x07"))
    result = ExecutionResult("t", "h", False, Status.FAILED, Reason.ERROR, error=error, execution_time_ms=12)
    assert error.text == "Traceback\nE: bad"
    assert ErrorInfo("E", "").text == "E"
    assert repr(result) == "<ExecutionResult t failed in 12 ms: E: bad>"


def _shown(text: Any) -> ExecutionResult:
    event = {"type": "execute_result", "data": {"text/plain": text}}
    return ExecutionResult("t", "h", True, Status.SUCCEEDED, Reason.OK, outputs=(event,))
