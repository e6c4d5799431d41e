"""A job in plain IPython: its output as it comes, and one status line that is rewritten below it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from codeexec_magic.contract import Status
from codeexec_magic.display import render
from codeexec_magic.display.parent_cell import ParentCell
from codeexec_magic.display.replay import Replay
from codeexec_magic.display.sanitize import Policy

if TYPE_CHECKING:
    from codeexec_magic.store import JobState


class TerminalView:
    """Used from the main thread.

    Args:
        parent_cell: the prompt it was called from.
        policy: what the job may show.
        job_id: the job.
    """

    def __init__(self, parent_cell: ParentCell, policy: Policy, job_id: str) -> None:
        self._policy = policy
        self._replay = Replay(parent_cell, policy, job_id, terminal=True)
        self._line = ""
        self._told_no_worker = False
        self._rewrites = sys.stdout.isatty()

    def event(self, event: Mapping[str, Any]) -> None:
        """Show one event."""
        if event["type"] != "status":
            self._erase()
        self._replay.feed(event)

    def flush(self) -> None:
        """A batch of events is through."""
        self._replay.flush()

    def state(self, state: JobState) -> None:
        """Show where the job stands."""
        if state.done:
            return
        if state.status is Status.QUEUED and state.listeners == 0 and not self._told_no_worker:
            self._told_no_worker = True
            self._erase()
            sys.stdout.write(f"{render.no_worker(state.queue)}; waiting for one\n")
            sys.stdout.flush()
        # a line of the cell's that is not complete yet, such as a progress bar, must not be written over
        if self._rewrites and self._replay.at_line_start:
            self._erase()
            self._line = render.status_line(state)[: max(10, shutil.get_terminal_size().columns - 1)]
            sys.stdout.write(self._line)
            sys.stdout.flush()

    def finish(self, state: JobState) -> None:
        """Close with a line that stays."""
        self.leave()
        self._replay.end()
        if not self._replay.at_line_start:
            sys.stdout.write("\n")
        lines = [*render.advice(state), *self._policy.notes]
        print(render.card_text(state, notes=lines, trusted=self._policy.trusted))

    def leave(self) -> None:
        """Take the status line away and say nothing."""
        self._erase()
        self._replay.flush()

    def _erase(self) -> None:
        if self._line:
            sys.stdout.write("\r\x1b[2K")
            self._line = ""
