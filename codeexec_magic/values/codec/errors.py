"""What encoder and decoder raise."""

from __future__ import annotations

from typing import Final

#: longest reason that is told (characters)
_LONGEST: Final = 500


class NotCarried(ValueError):
    """A value that no safe format carries; the text is one line that names the part and, if there is one, a remedy."""

    def __init__(self, reason: str) -> None:
        line = " ".join(reason.split())
        super().__init__(line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…")


class Damaged(ValueError):
    """Bytes that are no value: they were cut, changed or forged."""
