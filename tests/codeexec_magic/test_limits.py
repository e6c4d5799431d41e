"""What limits may be."""

from __future__ import annotations

import math

import pytest

from codeexec_magic.errors import DecodeError
from codeexec_magic.limits import Limits, named_limit


@pytest.mark.parametrize("bad", [0, -1, math.inf, math.nan, True, "1", None])
def test_limits_are_positive_numbers(bad: object) -> None:
    """Zero, infinity and text are no limits."""
    with pytest.raises(DecodeError, match="memory_mb"):
        Limits.from_dict({"memory_mb": bad})


@pytest.mark.parametrize(
    ("text", "meant"),
    [("processes=20", ("processes", 20)), ("tasks = 512", ("tasks", 512)), ("cpu_s=2.5", ("cpu_s", 2.5))],
)
def test_a_limit_by_name(text: str, meant: tuple[str, float]) -> None:
    """A limit is written as its name and a number."""
    assert named_limit(text) == meant


@pytest.mark.parametrize("text", ["", "processes", "processes=", "processes=many", "threads=4", "tasks=inf", "=4"])
def test_what_is_no_limit_is_refused_with_what_there_is(text: str) -> None:
    """The message names the limit, and what can be written."""
    with pytest.raises(ValueError, match=r"there are soft_s, |write a number, like \w+=20"):
        named_limit(text)
