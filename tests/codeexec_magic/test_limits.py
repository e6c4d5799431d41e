"""What limits may be."""

from __future__ import annotations

import math

import pytest

from codeexec_magic.errors import DecodeError
from codeexec_magic.limits import Limits


@pytest.mark.parametrize("bad", [0, -1, math.inf, math.nan, True, "1", None])
def test_limits_are_positive_numbers(bad: object) -> None:
    """Zero, infinity and text are no limits."""
    with pytest.raises(DecodeError, match="memory_mb"):
        Limits.from_dict({"memory_mb": bad})
