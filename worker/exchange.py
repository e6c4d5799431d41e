"""The variables and files of one attempt: fetched from the store for the cell, and stored when they come back."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from codeexec_magic.contract import ExecutionRequest
from codeexec_magic.errors import CodeExecError, DecodeError
from codeexec_magic.hostile_text import one_line
from codeexec_magic.quantities import size_text
from codeexec_magic.values.ref import INLINE, FileRef, ValueRef, check_path
from codeexec_magic.values.store import ValueStore
from worker.sandbox.transfer import Inputs, Returned

log = logging.getLogger("codeexec")

#: files of one cell that come back
_MOST_FILES = 1000


class Exchange:
    """Use it as a context while the cell is handed over, then :meth:`finish` it.

    Args:
        store: the content store.
        request: what the cell needs and returns; None: nothing.
    """

    def __init__(self, store: ValueStore, request: ExecutionRequest | None = None) -> None:
        self._store, self._request = store, request
        self._inputs: Inputs | None = None
        self._returned: Returned | None = None
        self.values: dict[str, ValueRef] = {}  #: that came back
        self.problems: dict[str, str] = {}  #: why one did not, by name, pattern or path
        self._files: dict[str, FileRef] = {}
        self._bytes = 0

    @property
    def inputs(self) -> int | None:
        """Descriptor of the memory with what the cell needs."""
        return self._inputs.fd if self._inputs else None

    @property
    def returns(self) -> int | None:
        """Descriptor on which the cell writes what it returns."""
        return self._returned.write_fd if self._returned else None

    @property
    def files(self) -> tuple[FileRef, ...]:
        """Files that came back."""
        return tuple(self._files.values())

    def __enter__(self) -> Exchange:
        """Fetch what the cell needs.

        Raises:
            ValueLost: a value has expired.
            ClusterError: the store cannot be reached.
        """
        request = self._request
        if request is not None and (request.inputs or request.uploads):
            self._inputs = Inputs()
            try:
                self._fetch(request)
            except BaseException:
                self._inputs.close()
                raise
        if request is not None and (request.outputs or request.downloads):
            self._returned = Returned(self._take, request.outputs, files=bool(request.downloads))
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._inputs:
            self._inputs.close()
        if self._returned:
            self._returned.handed_over()

    def _fetch(self, request: ExecutionRequest) -> None:
        assert self._inputs is not None
        for name, ref in request.inputs.items():
            self._inputs.add({"entry": "value", "name": name}, ref.size, self._store.chunks(ref))
        for file in request.uploads:
            about = {"entry": "file", "path": file.path, "mode": file.mode}
            self._inputs.add(about, file.size, self._store.chunks(file.ref))
        self._inputs.seal()

    def finish(self) -> None:
        """The cell is dead: read what is left of what it returned."""
        if self._returned is None:
            return
        assert self._request is not None
        self._returned.join()
        known = {*self._request.outputs, *self._request.downloads}
        for name, text in self._returned.problems.items():
            if name in known or len(self.problems) < 20:
                self.problems.setdefault(one_line(name, 200), one_line(text, 600))
        for name in self._request.outputs:
            if name not in self.values:
                self.problems.setdefault(name, f"the cell returned no value of {name}")

    def _take(self, about: dict[str, Any], body: Iterator[bytes]) -> None:
        """Store a variable or file that comes from the cell; every word of it may be forged."""
        kind, size = about["entry"], about.get("size", 0)
        name = about.get("name") if kind == "value" else about.get("path")
        try:
            if kind == "file":
                path = check_path(name)
                if path in self._files or len(self._files) >= _MOST_FILES:
                    raise DecodeError(f"more than {_MOST_FILES} files, or one of them twice")
                mode = about.get("mode")
                stored = self._stored(path, size, body, {"kind": "safe"})
                self._files[path] = FileRef(path, mode & 0o777 if type(mode) is int else 0o600, stored)
            else:
                self.values[str(name)] = self._stored(str(name), size, body, about)
        except CodeExecError as err:
            self.problems[one_line(name, 200)] = one_line(err, 600)

    def _stored(self, name: str, size: int, body: Iterator[bytes], about: dict[str, Any]) -> ValueRef:
        self._bytes += size
        most = self._store.settings.max_value_mb << 20
        if self._bytes > 2 * most:
            raise DecodeError(f"all values and files of a cell together may have {size_text(2 * most)}")
        described = {key: one_line(about.get(key, ""), cap) for key, cap in (("type", 200), ("python", 16))}
        preview = about.get("preview", "")
        pickled = about.get("kind") == "pickle"
        described["preview"] = preview[:1000].encode("utf-8", "replace").decode() if isinstance(preview, str) else ""
        kind = "pickle" if pickled else "safe"
        if size <= INLINE:
            data = b"".join(body)
            return ValueRef.inline(data, kind, described["type"], described["preview"], described["python"])
        upload = self._store.upload(size, name)
        try:
            for chunk in body:
                upload.write(chunk)
            return ValueRef(upload.commit(), size, kind, described["type"], described["preview"], described["python"])
        except BaseException:
            upload.abort()
            raise
