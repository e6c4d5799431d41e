"""Displays that change, in a terminal: rewritten where they stand, as long as nothing was written below them since."""

from __future__ import annotations

import shutil
import sys


class Lines:
    """The displays of one line each at the end of what was written.

    Args:
        rewrites: the terminal can move its cursor; otherwise only the last state of a display is written.
    """

    def __init__(self, *, rewrites: bool) -> None:
        self._rewrites = rewrites
        self._keys: list[str] = []
        #: states that were not written
        self._late: dict[str, str] = {}

    def shown(self, key: str | None, text: str) -> None:
        """A display was written, and the cursor is below it."""
        if not self._rewrites:
            return
        if key is None or not text or "\n" in text or len(text) >= _width():
            self._keys.clear()
        else:
            self._keys.append(key)

    def update(self, key: str, text: str) -> bool:
        """Show another state of a display; false if it has to be written anew."""
        if not self._rewrites:
            self._late[key] = text
            return True
        if key not in self._keys or "\n" in text or len(text) >= _width():
            return False
        place = self._keys.index(key)
        below = len(self._keys) - place - 1
        sys.stdout.write(f"\x1b[{below + 1}A\r\x1b[2K")
        if text or below:
            sys.stdout.write(f"{text}\r\x1b[{below + 1}B")
        else:
            self._keys.pop()
        sys.stdout.flush()
        return True

    def end(self) -> None:
        """Something else is written now."""
        self._keys.clear()
        for text in self._late.values():
            if text:
                print(text)
        self._late.clear()


def _width() -> int:
    return shutil.get_terminal_size().columns
