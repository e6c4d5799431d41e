"""The cell that a job was submitted from: where its output belongs, whichever thread writes it and whenever.

Kernels differ in it, and all of that is handled here and in
:func:`~codeexec_magic.display.live_card.answer_on_own_shell`:

============================  ======================  =======================  ================================
what                          ipykernel 6.29 to 6.31  ipykernel 7.3            ipykernel 7.4
============================  ======================  =======================  ================================
streams of a thread follow    the copied context      the copied context       ``set_thread_parent``
displays of a thread follow   the cell that runs now  the copied context       ``set_thread_parent``
a click while a cell runs     waits for its end       is handled at once       waits, unless the comm is told not to
============================  ======================  =======================  ================================

So displays and errors of a thread are sent past an ipykernel 6 under the cell's own header, and a cell that waits there
has no Cancel button: Stop does the same.
"""

from __future__ import annotations

import contextlib
import contextvars
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any


class ParentCell:
    """Made while the cell runs; used from any thread, also after the cell has ended."""

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        #: a front end is there at all; in a terminal there is only one place to write to
        self.kernel = getattr(shell, "kernel", None)
        self._parent = shell.get_parent() if hasattr(shell, "get_parent") else None
        self._context = contextvars.copy_context()
        metadata = self._parent.get("metadata") if isinstance(self._parent, Mapping) else None
        #: the front end's name of the cell, if it tells
        self.cell_id = metadata.get("cellId") if isinstance(metadata, Mapping) else None

    @property
    def attended(self) -> bool:
        """Whether a person may be looking: a client that runs notebooks unattended does not offer to ask."""
        return self.kernel is not None and bool(getattr(self.kernel, "_allow_stdin", True))

    @property
    def buttons_answer(self) -> bool:
        """Whether a click can be handled while a cell runs (kernels without subshells handle it afterwards)."""
        return bool(getattr(self.kernel, "_supports_kernel_subshells", False))

    def shutting_down(self, within_s: float) -> bool:
        """Whether the kernel is about to end: a restart interrupts the cell first, and asks for the end just after.

        Args:
            within_s: how long to wait for that (seconds).
        """
        deadline = time.monotonic() + within_s
        while self.kernel is not None:
            if getattr(self.kernel, "_shutdown_message", None) is not None:
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return False

    def run(self, function: Callable[[], None]) -> None:
        """Call ``function`` in this thread as if the cell had."""

        def inside() -> None:
            with self.here():
                function()

        # the copied context is what kernel 7.3 looks at; a copy of it may be entered by several threads
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

    def publish(
        self,
        data: Mapping[str, Any],
        display_id: str | None = None,
        *,
        metadata: Mapping[str, Any] | None = None,
        update: bool = False,
    ) -> None:
        """Send a MIME bundle to the cell."""
        bundle, told = dict(data), dict(metadata or {})
        transient = {"display_id": display_id} if display_id else {}
        if self._elsewhere():
            kind = "update_display_data" if update else "display_data"
            self._send(kind, {"data": bundle, "metadata": told, "transient": transient})
        else:
            self.shell.display_pub.publish(data=bundle, metadata=told, transient=transient, update=update)

    def clear_output(self, *, wait: bool) -> None:
        """Clear what the cell shows."""
        if self._elsewhere():
            self._send("clear_output", {"wait": wait})
        else:
            self.shell.display_pub.clear_output(wait=wait)

    def error(self, error: BaseException, lines: list[str]) -> None:
        """Show a traceback without raising."""
        if self._elsewhere():
            content = {"ename": type(error).__name__, "evalue": str(error), "traceback": lines}
            self._send("error", content)
        else:
            self.shell._showtraceback(type(error), error, lines)

    def _elsewhere(self) -> bool:
        """Whether the shell would send this thread's displays to whichever cell runs now: kernels before 7 do."""
        if self.kernel is None or self._parent is None or threading.current_thread() is threading.main_thread():
            return False
        return not hasattr(self.kernel, "_supports_kernel_subshells")

    def _send(self, kind: str, content: dict[str, Any]) -> None:
        kernel: Any = self.kernel
        kernel.session.send(kernel.iopub_socket, kind, content, parent=self._parent, ident=kind.encode())
