"""Sizes and durations: one reading for the magic, the command line and the panel."""

from __future__ import annotations

import pytest

from codeexec_magic.quantities import count, megabytes, seconds


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("512", 512),
        ("512M", 512),
        ("512MB", 512),
        ("2GB", 2048),
        ("1.5g", 1536),
        ("2 GiB", 2048),
        ("1T", 1024**2),
        ("2048k", 2),
        ("1048576B", 1),
        (".5G", 512),
    ],
)
def test_sizes(text: str, expected: int) -> None:
    """Sizes as people write them."""
    assert megabytes(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "MB", "-1GB", "0", "1e3MB", "nan", "5XB", "1,5GB", "lots", "512B", "100k", "0.5", "1.5MB", "1.1G", "٣MB"],
)
def test_sizes_that_are_none(text: str) -> None:
    """What is no size, or none that can be granted exactly, is refused with examples."""
    with pytest.raises(ValueError, match=r"write 512MB, 2GB or 1\.5G"):
        megabytes(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90", 90), ("2.5", 2.5), (".5", 0.5), ("90s", 90), ("5m", 300), ("1H", 3600), ("1d", 86_400), ("250ms", 0.25)],
)
def test_durations(text: str, expected: float) -> None:
    """Seconds, or a number with its unit."""
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["0", "-1", "inf", "nan", "x", "", "1w", "0s"])
def test_durations_that_are_none(text: str) -> None:
    """Durations are above 0 and finite."""
    with pytest.raises(ValueError, match="seconds above 0"):
        seconds(text)


@pytest.mark.parametrize("text", ["", "-1", "1.0", "x", "²", "1" * 40])
def test_counts_that_are_none(text: str) -> None:
    """A count is a whole number from 0."""
    assert count("0") == 0
    with pytest.raises(ValueError, match="is not a number"):
        count(text)
