"""The cell's side of the event channel, and the text streams that write to it.

Nothing is buffered in the process, so what was printed survives a kill.
"""

from __future__ import annotations

import builtins
import fcntl
import functools
import io
import json
import os
import sys
import time
from collections.abc import Iterable
from typing import Any, Final

from ..protocol import packets

_FIONREAD: Final = 0x541B
#: longest wait for the launcher to take what was written to the raw descriptors (seconds); halved whenever it was in
#: vain, so that a subprocess that writes without end holds the cell up only briefly
_DRAIN_S: Final = 0.5
_NOTHING: Final = b"\0\0\0\0"


class Channel:
    """Sends events; the kernel keeps packets of threads and forked children apart."""

    def __init__(self) -> None:
        self.fd = -1  #: nothing is sent until it is set: the warm-up cell must not be seen
        self._patience = _DRAIN_S

    def text(self, kind: bytes, data: bytes) -> None:
        """Send bytes of stdout or stderr."""
        if self.fd < 0 or not data:
            return
        self._wait_for_raw()
        if len(data) < packets.PACKET:
            os.write(self.fd, kind + data)
            return
        for piece in packets.pieces(data):
            os.write(self.fd, kind + piece)

    def send(self, event: dict[str, Any]) -> None:
        """Send one event."""
        if self.fd < 0:
            return
        self._wait_for_raw()
        text = json.dumps(event, separators=(",", ":"), default=str, ensure_ascii=False)
        for packet in packets.message(text.encode("utf-8", "surrogatepass")):
            os.write(self.fd, packet)

    def _wait_for_raw(self) -> None:
        # what a subprocess wrote before must come before; a flood of it must not hold the cell up for ever
        if not self._raw_pending():
            return
        end = time.monotonic() + self._patience
        while self._raw_pending():
            if time.monotonic() > end:
                self._patience = max(self._patience / 2, 0.001)
                return
            time.sleep(0.0001)
        self._patience = _DRAIN_S

    @staticmethod
    def _raw_pending() -> bool:
        for fd in (1, 2):
            try:
                if fcntl.ioctl(fd, _FIONREAD, _NOTHING) != _NOTHING:
                    return True
            except OSError:
                continue  # closed, or no pipe any more: the cell's own doing
        return False


class _Bytes(io.RawIOBase):
    """``sys.stdout.buffer``: bytes straight into the channel."""

    def __init__(self, channel: Channel, kind: bytes) -> None:
        super().__init__()
        self._channel, self._kind = channel, kind

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        view = bytes(data)
        self._channel.text(self._kind, view)
        return len(view)

    def fileno(self) -> int:
        return 1 if self._kind == packets.STDOUT else 2


class Stream(io.TextIOBase):
    """``sys.stdout`` or ``sys.stderr`` of a cell."""

    def __init__(self, channel: Channel, kind: bytes) -> None:
        super().__init__()
        self._channel, self._kind = channel, kind
        self._bytes = _Bytes(channel, kind)
        self.name = "<stdout>" if kind == packets.STDOUT else "<stderr>"
        self.mode = "w"

    encoding = "utf-8"
    errors = "backslashreplace"
    newlines = None
    line_buffering = True
    write_through = True

    @property
    def buffer(self) -> _Bytes:
        """The binary stream below."""
        return self._bytes

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return False

    def fileno(self) -> int:
        return self._bytes.fileno()

    def write(self, text: str, /) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        self._channel.text(self._kind, text.encode("utf-8", "backslashreplace"))
        return len(text)

    def writelines(self, lines: Iterable[str], /) -> None:  # type: ignore[override]
        self.write("".join(lines))

    def reconfigure(self, **_options: Any) -> None:
        """Accepted and ignored: the stream is always UTF-8 and never buffered."""

    def close(self) -> None:
        """Kept open: a library that closes stdout must not silence the rest of the cell."""

    def detach(self) -> Any:
        raise io.UnsupportedOperation("detach")


_print: Final = builtins.print


@functools.wraps(_print)
def print_at_once(
    *values: object, sep: str | None = " ", end: str | None = "\n", file: Any = None, flush: bool = False
) -> None:
    """``print`` with one write for all of it: the built-in one makes one of each piece, and each here is a packet.

    So a line costs a fraction, and lines of several threads do not run into each other.
    """
    out = sys.stdout if file is None else file
    sep, end = " " if sep is None else sep, "\n" if end is None else end
    if type(out) is Stream and isinstance(sep, str) and isinstance(end, str):
        out.write(sep.join(map(str, values)) + end)
    else:
        _print(*values, sep=sep, end=end, file=file, flush=flush)
