"""State between cells without a process that keeps it: what ran before runs again, silently, in each fresh sandbox.

A cell is slow if the cells before it were slow, and their side effects happen again. The limits of one cell bound the
cost of the whole replay. A cell that failed is not kept.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, Final

from codeexec_magic.agents.prelude import with_prelude
from codeexec_magic.agents.remote_exec import submit
from codeexec_magic.client import Client
from codeexec_magic.contract import ExecutionResult
from codeexec_magic.errors import BadRequest
from codeexec_magic.job import Job

#: cells that a context may hold, and characters of their code together
CELLS_LIMIT: Final = 200
CODE_LIMIT: Final = 256_000
#: runs the earlier cells
_REPLAY: Final = """
def _replay(shell, cells):
    from IPython.utils.capture import capture_output
    for number, cell in enumerate(cells, 1):
        with capture_output():
            outcome = shell.run_cell(cell, store_history=False)
        problem = outcome.error_before_exec or outcome.error_in_exec
        if problem is not None:
            shown = f"{type(problem).__name__}: {problem}"
            raise RuntimeError(f"cell {number} of this context ended well before, and now raised {shown}") from None
_replay(get_ipython(), prelude_data)
del _replay
"""


class ReplayedContext:
    """The cells that ran well, oldest first."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._cells: list[str] = []
        self.count = 0  #: cells that were run, whatever came of them

    def submit(self, code: str, **options: Any) -> Job:
        """Run a cell after all earlier ones, without waiting; :meth:`keep` its result.

        Args:
            code: the cell.
            options: those of :func:`codeexec_magic.agents.remote_exec.submit`.

        Raises:
            BadRequest: the code cannot be accepted, or the context is full.
            QueueFull, ClusterError: as :func:`codeexec_magic.agents.remote_exec`.
        """
        self._client.check_code(code)
        with self._lock:
            before = list(self._cells)
            self.count += 1
        if len(before) >= CELLS_LIMIT or sum(map(len, before)) + len(code) > CODE_LIMIT:
            raise BadRequest(
                f"this context is full ({CELLS_LIMIT} cells, {CODE_LIMIT:,} characters of code): make a new one"
            )
        inputs: Mapping[str, Any] = options.pop("inputs", None) or {}
        if before:
            code, prelude = with_prelude(code, _REPLAY, before)
            inputs = {**inputs, **prelude}
        return submit(self._client, code, inputs, **options)

    def keep(self, code: str, result: ExecutionResult) -> None:
        """Remember a cell if it ended well.

        Args:
            code: the cell.
            result: of the job that ran it.
        """
        if result.success:
            with self._lock:
                self._cells.append(code)

    def clear(self) -> None:
        """Forget all cells."""
        with self._lock:
            self._cells.clear()
            self.count = 0
