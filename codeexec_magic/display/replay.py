"""Events of a job, live, as the output of the cell that waits for it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

from codeexec_magic.display.parent_cell import ParentCell
from codeexec_magic.display.sanitize import Policy
from codeexec_magic.display.terminal_lines import Lines
from codeexec_magic.display.transcript import EXACT_SWITCHES, display_id, stream_text
from codeexec_magic.hostile_text import TerminalStream, printed_text


class Replay:
    """Writes to the streams and the cell's displays, in the order in which things happened.

    Args:
        parent_cell: the cell whose output it is.
        policy: what may be shown.
        scope: prefix for display ids, so that a cell can update its own displays and nobody else's.
        terminal: the output goes to a terminal.
        cleared: called after the output was cleared, to put back what was not the cell's.
    """

    def __init__(
        self,
        parent_cell: ParentCell,
        policy: Policy,
        scope: str,
        *,
        terminal: bool = False,
        cleared: Callable[[], None] | None = None,
    ) -> None:
        self._parent_cell = parent_cell
        self._policy = policy
        self._scope = scope
        self._terminal = terminal
        self._lines = Lines(rewrites=sys.stdout.isatty()) if terminal else None
        self._cleared = cleared
        self._streams = {"stdout": TerminalStream(), "stderr": TerminalStream()}
        self._text: dict[str, list[str]] = {}  # by stream, in the order in which they came
        self._switches = 0  # from one stream to the other
        self._clear_next = False
        self._runs = 0
        #: whether anything was shown, and whether the last line of text is complete
        self.shown = False
        self.at_line_start = True

    def feed(self, event: Mapping[str, Any]) -> None:
        """Show one event; text is held back until :meth:`flush`, so that a burst becomes one message."""
        kind = event["type"]
        if kind in ("stream", "truncated"):
            name = "stderr" if event.get("name") == "stderr" else "stdout"
            if self._text and name not in self._text:
                self._switches += 1
                if self._switches <= EXACT_SWITCHES:
                    # without this the two would arrive in whatever order the kernel flushes them
                    self.flush()
            self._text.setdefault(name, []).append(stream_text(event))
        elif kind in ("display_data", "execute_result", "update_display_data"):
            self.flush()
            self._show(event, update=kind == "update_display_data")
        elif kind == "clear_output":
            self.flush()
            self._clear(wait=bool(event.get("wait")))
        elif kind == "status" and event.get("status") == "running":
            self._runs += 1
            self.flush()
            if self._runs > 1 and self.shown:
                # at once: a second run that shows nothing must not keep the text of the first
                self._clear(wait=False)

    def flush(self) -> None:
        """Write the text held back."""
        held, self._text = self._text, {}
        for name, parts in held.items():
            text = "".join(parts)
            if self._terminal:
                text = self._streams[name].feed(text)
            if text:
                self.end()
                self._before_output()
                out = sys.stderr if name == "stderr" else sys.stdout
                out.write(text)
                out.flush()
                self.at_line_start = text.endswith("\n")

    def end(self) -> None:
        """Nothing more is to change above what is written now."""
        if self._lines is not None:
            self._lines.end()

    def _show(self, event: Mapping[str, Any], *, update: bool) -> None:
        data = self._policy.bundle(event["data"])
        text = str(data.get("text/plain", ""))
        if self._terminal and text:
            data["text/plain"] = text = printed_text(text)
        own = display_id(event).get("display_id")
        key = f"{self._scope}:{own}" if own is not None else None
        self._before_output()
        if self._lines is not None and update and key is not None and self._lines.update(key, text):
            return
        self._parent_cell.publish(
            data, key, metadata=self._policy.metadata(data, event.get("metadata")), update=update and own is not None
        )
        if self._lines is not None:
            self._lines.shown(key, text)
        self.at_line_start = True

    def _clear(self, *, wait: bool) -> None:
        self._clear_next = wait
        if not wait:
            self._parent_cell.clear_output(wait=False)
            self._put_back()

    def _before_output(self) -> None:
        if self._clear_next:
            self._clear_next = False
            # sent only now: for a front end our card would be the next output, and would clear what is to stay
            self._parent_cell.clear_output(wait=True)
            self._put_back()
        self.shown = True

    def _put_back(self) -> None:
        if self._cleared is not None:
            self._cleared()
