"""One line that changes while a cell waits, and leaves nothing behind."""

from __future__ import annotations

import sys
import uuid

from codeexec_magic.display.parent_cell import ParentCell


class ProgressLine:
    """Shown only where somebody may see it: a client that runs notebooks unattended would keep it.

    Args:
        parent_cell: the cell.
    """

    def __init__(self, parent_cell: ParentCell) -> None:
        self._parent_cell = parent_cell
        self._display_id = uuid.uuid4().hex
        self._terminal = parent_cell.kernel is None
        self._seen = sys.stdout.isatty() if self._terminal else parent_cell.attended
        self._text = ""

    def show(self, text: str) -> None:
        """Replace the line."""
        if not self._seen or text == self._text:
            return
        if self._terminal:
            sys.stdout.write("\r" + text.ljust(len(self._text)))
            sys.stdout.flush()
        else:
            # a display, because a stream that was written to stays as an empty line
            self._parent_cell.publish({"text/plain": text}, self._display_id, update=bool(self._text))
        self._text = text

    def clear(self) -> None:
        """Take it away."""
        if not self._text:
            return
        if self._terminal:
            sys.stdout.write("\r" + " " * len(self._text) + "\r")
            sys.stdout.flush()
        else:
            self._parent_cell.publish({}, self._display_id, update=True)
        self._text = ""
