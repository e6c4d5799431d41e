"""What crosses between the worker and a cell beside code and output: variables and files, in bulk.

Into the cell goes memory that the worker fills and seals; out of it comes a pipe, on which a hostile cell may write
whatever it likes: the reader takes what was asked for, once each, up to the sizes it allows.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, Final

from .protocol.codec import bundle
from .protocol.codec.container import ALIGN, Buffer, padding
from .protocol.codec.errors import Damaged

#: what is read at a time
_CHUNK: Final = 1 << 20
#: entries that a cell may send
_MOST_ENTRIES: Final = 10_000
#: no file or value is larger, whatever the settings say
_MOST_BYTES: Final = 1 << 40

#: takes an entry and its bytes
Sink = Callable[[dict[str, Any], Iterator[bytes]], None]


class Inputs:
    """Memory that a cell gets with its code; close it when the cell has it."""

    def __init__(self) -> None:
        self.fd = os.memfd_create("inputs", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)

    def add(self, about: dict[str, Any], size: int, chunks: Iterable[Buffer]) -> None:
        """Add a variable or file.

        Args:
            about: of the entry.
            size: bytes.
            chunks: as many.
        """
        self._write(bundle.entry({**about, "size": size}))
        for chunk in chunks:
            self._write(chunk)
        self._write(padding(size))

    def _write(self, data: Buffer) -> None:
        view = memoryview(data)
        while view.nbytes:
            view = view[os.write(self.fd, view) :]

    def seal(self) -> None:
        """Nobody can change it any more."""
        fcntl.fcntl(
            self.fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
        )

    def close(self) -> None:
        """Give the memory up."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Inputs:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


class Returned:
    """Reads what a cell returns, in a thread of its own, because a cell waits until somebody reads.

    Args:
        sink: takes the entries of kind ``value`` and ``file``.
        names: of the variables that may come.
        files: whether files may come.
    """

    def __init__(self, sink: Sink, names: Collection[str], *, files: bool = False) -> None:
        self._fd, self.write_fd = os.pipe2(os.O_CLOEXEC)
        # an unprivileged user's pipes share a budget: a smaller one is only slower
        with contextlib.suppress(OSError):
            fcntl.fcntl(self._fd, fcntl.F_SETPIPE_SZ, _CHUNK)
        self._sink, self._open_names, self._files = sink, set(names), files
        self.problems: dict[str, str] = {}  #: why a variable or file did not come, in the cell's words
        self._thread = threading.Thread(target=self._read_all, name="codeexec-returned", daemon=True)
        self._thread.start()

    def handed_over(self) -> None:
        """The cell has the writing end now, or never will."""
        if self.write_fd >= 0:
            os.close(self.write_fd)
            self.write_fd = -1

    def join(self) -> None:
        """Wait until everything is read; the cell must be dead."""
        self.handed_over()
        self._thread.join()

    def _read_all(self) -> None:
        try:
            count = 0
            while (about := self._entry()) is not None:
                count += 1
                if count > _MOST_ENTRIES:
                    raise Damaged("too many entries")
                self._take(about)
        except Damaged as err:
            for name in self._open_names:
                self.problems.setdefault(name, f"the cell sent no value of {name} that can be read: {err}")
        finally:
            os.close(self._fd)  # a cell that goes on writing is told so

    def _entry(self) -> dict[str, Any] | None:
        head = self._exactly(bundle.LENGTH.size, at_end=True)
        if not head:
            return None
        (length,) = bundle.LENGTH.unpack(head)
        if length > bundle.MAX_ENTRY:
            raise Damaged("an entry that is too long")
        return bundle.read_entry(self._exactly(length))

    def _take(self, about: dict[str, Any]) -> None:
        size, kind, name = about.get("size", 0), about["entry"], about.get("name")
        if size > _MOST_BYTES:
            raise Damaged("an entry that is too large")
        if kind == "problem" and isinstance(name, str) and isinstance(about.get("text"), str) and not size:
            if len(self.problems) < 100:
                self.problems.setdefault(name[:200], about["text"][:600])
            return
        if kind == "value" and name in self._open_names:
            self._open_names.discard(name)
        elif kind != "file" or not self._files:
            raise Damaged("an entry that was not asked for")
        body = self._body(size)
        self._sink(about, body)
        for _ in body:
            pass  # what the sink did not want
        self._exactly(-size % ALIGN)

    def _body(self, size: int) -> Iterator[bytes]:
        while size:
            chunk = os.read(self._fd, min(size, _CHUNK))
            if not chunk:
                raise Damaged("the cell ended in the middle of it")
            size -= len(chunk)
            yield chunk

    def _exactly(self, size: int, *, at_end: bool = False) -> bytes:
        data = bytearray()
        while len(data) < size:
            chunk = os.read(self._fd, size - len(data))
            if not chunk:
                if at_end and not data:
                    return b""
                raise Damaged("the cell ended in the middle of it")
            data += chunk
        return bytes(data)
