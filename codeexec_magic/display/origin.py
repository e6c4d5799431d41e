"""The cell that a job was submitted from: where its output belongs, whichever thread writes it and whenever."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterator, Mapping
from typing import Any


class Origin:
    """Made while the cell runs; used from any thread, also after the cell has ended."""

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        #: a front end is there at all; in a terminal there is only one place to write to
        self.kernel = getattr(shell, "kernel", None)
        self._parent = shell.get_parent() if hasattr(shell, "get_parent") else None
        self._context = contextvars.copy_context()

    @property
    def attended(self) -> bool:
        """Whether a person may be looking: a client that runs notebooks unattended does not offer to ask."""
        return self.kernel is not None and bool(getattr(self.kernel, "_allow_stdin", True))

    @property
    def buttons_answer(self) -> bool:
        """Whether a click can be handled while a cell runs (kernels without subshells handle it afterwards)."""
        return bool(getattr(self.kernel, "_supports_kernel_subshells", False))

    def run(self, function: Callable[[], None]) -> None:
        """Call ``function`` in this thread as if the cell had."""

        def inside() -> None:
            with self.here():
                function()

        # the copied context is what kernels before 7.4 look at; a copy of it may be entered by several threads
        self._context.copy().run(inside)

    @contextlib.contextmanager
    def here(self) -> Iterator[None]:
        """While this lasts, output of this thread goes to the cell."""
        set_parent = getattr(self.shell, "set_thread_parent", None)
        if set_parent is None or self._parent is None:
            yield
            return
        token = set_parent(self._parent)
        try:
            yield
        finally:
            self.shell.reset_thread_parent(token)

    def publish(self, data: Mapping[str, Any], display_id: str | None = None, *, update: bool = False) -> None:
        """Send a MIME bundle of our own to the cell."""
        transient = {"display_id": display_id} if display_id else {}
        self.shell.display_pub.publish(data=dict(data), metadata={}, transient=transient, update=update)
