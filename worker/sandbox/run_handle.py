"""A cell on its way, as the worker sees it: what is to be run, and the hold on its run."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from codeexec_magic.contract import Reason
from codeexec_magic.limits import Limits

from .outcome import Outcome, broken, judge
from .protocol import framing, messages

OnEvent = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Cell:
    """One piece of code to run."""

    run_id: str
    code: str
    limits: Limits = field(default_factory=Limits)
    network: bool = False
    inputs: int | None = (
        None  #: descriptor of memory with variables and files, as ``protocol/codec/bundle.py`` has them
    )
    outputs: Sequence[str] = ()  #: names of variables that come back
    downloads: Sequence[str] = ()  #: patterns of files that come back
    returns: int | None = None  #: descriptor of the pipe on which they come

    def message(self) -> messages.RunCell:
        """The order that the launcher gets."""
        limits = wire_limits(self.limits)
        descriptors = tuple(name for name in ("inputs", "returns") if getattr(self, name) is not None)
        return messages.RunCell(
            self.code, limits, self.network, tuple(self.outputs), tuple(self.downloads), descriptors
        )

    @property
    def fds(self) -> list[int]:
        """The descriptors that go along."""
        return [fd for fd in (self.inputs, self.returns) if fd is not None]


def wire_limits(limits: Limits) -> messages.CellLimits:
    """Limits as the launcher knows them; a whole number may have been given as a float."""
    numbers = [float(value) if name.endswith("_s") else int(value) for name, value in vars(limits).items()]
    return messages.CellLimits._make(numbers)


class Run:
    """A cell on its way; made by :meth:`Sandbox.run`."""

    def __init__(self, cell: Cell, sock: socket.socket | None, failure: str, report: Mapping[str, Any]) -> None:
        self.cell = cell
        self._sock, self._failure, self._report = sock, failure, report
        self._lock = threading.Lock()
        self._cancelled = False

    def wait(self, on_event: OnEvent = lambda _event: None) -> Outcome:
        """Follow the run to its end, in the calling thread.

        Args:
            on_event: called with each output event as it arrives.
        """
        sock = self._sock
        if sock is None:
            return broken(self._failure, self.cell.limits, self._report)
        decoder = framing.Decoder()
        try:
            while data := sock.recv(1 << 20):
                for message in decoder.feed(data):
                    if isinstance(message, messages.OutputEvent):
                        on_event(message.event)
                    elif isinstance(message, messages.Evidence):
                        return judge(message, self.cell.limits)
        except (OSError, messages.BadMessage) as err:
            return broken(f"the launcher's connection failed: {err}", self.cell.limits, self._report)
        finally:
            # also when on_event raises: the end of the connection ends the run
            with self._lock:
                sock.close()
                self._sock = None
                self._failure = "already waited for"
        why = "the launcher died"
        if self._cancelled:
            evidence = messages.Evidence(kill=Reason.CANCELLED.value, isolation=dict(self._report))
            return judge(evidence, self.cell.limits)
        return broken(why, self.cell.limits, self._report)

    def cancel(self, reason: Reason = Reason.CANCELLED) -> None:
        """Kill the run; what it printed so far is kept. May be called from any thread, more than once."""
        with self._lock:
            self._cancelled = True
            if self._sock is not None:
                with contextlib.suppress(OSError):
                    self._sock.sendall(framing.encode(messages.CancelRun(Reason(reason).value)))
