"""What a cell is given and what it returns: variables and files, in the formats of ``protocol/codec``."""

from __future__ import annotations

import mmap
import os
import stat
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final

from ..protocol.codec import bundle, container, decode, encode, pickled
from ..protocol.codec.container import Buffer, Packed
from ..protocol.codec.errors import Damaged, NotCarried
from . import soft_limit

#: characters kept of a value's text
_PREVIEW: Final = 1000
#: files that are named when nobody asked for them
_LEFT_BEHIND: Final = 20
#: files that are looked at, of those a cell wrote
_MOST_FILES: Final = 2000
_CHUNK: Final = 1 << 20


class InputError(Exception):
    """A variable or file that was sent cannot be made here."""


def receive(fd: int, namespace: dict[str, Any]) -> set[str]:
    """Bind the variables and write the files that came with the code.

    Args:
        fd: of the memory that holds them; is closed.
        namespace: where the variables are bound.

    Returns:
        the files, by their path in the work folder

    Raises:
        InputError: one cannot be made; the text says why.
    """
    files: set[str] = set()
    size = os.fstat(fd).st_size
    # pages are copied when they are written to, and only then
    stream = memoryview(mmap.mmap(fd, size, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE))
    os.close(fd)
    for about, body in bundle.entries(stream):
        if about["entry"] == "value":
            namespace[about["name"]] = _value(about["name"], body)
        elif about["entry"] == "file":
            _write_file(about, body)
            files.add(about["path"])
    return files


def _value(name: str, body: memoryview) -> Any:
    try:
        header, parts = container.unpack(body)
        if header["kind"] == "pickle":
            return _unpickle(name, header, parts[0])
        return decode.decode(header, parts)
    except ImportError as err:
        raise InputError(
            f"input {name} needs {err.name or 'a library'}, which the cell's Python lacks: {err}"
        ) from None
    except Damaged as err:
        raise InputError(f"input {name}: {err}") from None


def _unpickle(name: str, header: Mapping[str, Any], data: memoryview) -> Any:
    import pickle

    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if header["python"] != here:
        made = f"was pickled by Python {header['python']}, and this cell runs Python {here}"
        raise InputError(f"input {name} {made}: pickles are opened by the version that made them")
    try:
        return pickle.loads(data)  # noqa: S301 - this is the sandbox, and the only place where a pickle is opened
    except ImportError:
        raise
    except Exception as err:
        what = f"input {name} ({header['type']}) cannot be unpickled"
        raise InputError(f"{what}: {type(err).__name__}: {err}") from None


def _write_file(about: Mapping[str, Any], body: memoryview) -> None:
    folder = os.path.dirname(about["path"])  # noqa: PTH120 - pathlib costs every cell an import
    try:
        if folder:
            os.makedirs(folder, exist_ok=True)  # noqa: PTH103
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        fd = os.open(about["path"], flags, about["mode"] & 0o777)
        try:
            _write(fd, body)
        finally:
            os.close(fd)
    except OSError as err:
        raise InputError(f"{about['path']} cannot be written to the work folder: {err.strerror}") from None


def _write(fd: int, data: Buffer) -> None:
    view = memoryview(data)
    while view.nbytes:
        view = view[os.write(fd, view[:_CHUNK]) :]


class Returns:
    """The way out: a pipe to the worker, which reads it as it reads everything from a cell, with suspicion."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def close(self) -> None:
        """Nothing more will come."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def values(self, namespace: Mapping[str, Any], names: Sequence[str]) -> None:
        """Send variables; for one that cannot be sent, the reason.

        Args:
            namespace: the cell's variables.
            names: of those that were asked for.
        """
        for name in names:
            if name not in namespace:
                self._problem(name, f"the cell did not assign {name}")
                continue
            try:
                packed = _pack(namespace[name], name)
            except NotCarried as err:
                self._problem(name, str(err))
            except MemoryError:
                self._problem(name, f"{name} is too large to be made ready within the memory limit")
            else:
                about = {"entry": "value", "name": name, "kind": packed.kind, "type": packed.type}
                self._send({**about, "preview": packed.preview, "python": packed.python}, packed.size, packed.chunks())

    def files(self, patterns: Sequence[str]) -> None:
        """Send the files of the work folder that match; for a pattern that matches none, the reason."""
        found = dict(_regular_files())
        for pattern in patterns:
            matching = [path for path in found if _matches(path, pattern)]
            if not matching:
                self._problem(pattern, f"no file matches {pattern}")
            for path in matching:
                info = found.pop(path)
                self._file(path, info)

    def _file(self, path: str, info: os.stat_result) -> None:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError as err:
            self._problem(path, f"{path} cannot be read: {err.strerror}")
            return
        try:
            about = {"entry": "file", "path": path, "mode": info.st_mode & 0o777}
            self._send(about, info.st_size, _read(fd, info.st_size))
        finally:
            os.close(fd)

    def _problem(self, name: str, text: str) -> None:
        _write(self._fd, bundle.entry({"entry": "problem", "name": name, "text": text[:600]}))

    def _send(self, about: dict[str, Any], size: int, chunks: Iterator[Buffer]) -> None:
        soft_limit.disarm()  # an entry that is cut would spoil those behind it
        _write(self._fd, bundle.entry({**about, "size": size}))
        for chunk in chunks:
            _write(self._fd, chunk)
        _write(self._fd, container.padding(size))
        soft_limit.arm()


def _pack(value: Any, name: str) -> Packed:
    try:
        return encode.pack(value, name, by_name=True)
    except NotCarried:
        return pickled.pack_pickle(value, name, _pickler(), _text(value))


def _pickler() -> Callable[[Any], bytes]:
    try:
        import cloudpickle
    except ImportError:  # then classes and functions of the cell itself cannot be returned
        import pickle

        return lambda value: pickle.dumps(value, protocol=5)
    return lambda value: bytes(cloudpickle.dumps(value))


def _text(value: Any) -> str:
    try:
        return repr(value)[:_PREVIEW].encode("utf-8", "replace").decode()
    except Exception as err:
        return f"<repr() failed: {type(err).__name__}>"


def _read(fd: int, size: int) -> Iterator[bytes]:
    """Exactly ``size`` bytes, whatever becomes of the file meanwhile."""
    while size:
        chunk = os.read(fd, min(size, _CHUNK)) or bytes(min(size, _CHUNK))
        size -= len(chunk)
        yield chunk


def _matches(path: str, pattern: str) -> bool:
    pattern = pattern.removeprefix("./")
    return fnmatchcase(path, pattern) or path.startswith(pattern.rstrip("/") + "/")


def _regular_files() -> Iterator[tuple[str, os.stat_result]]:
    """Regular files below the work folder, by relative path; no links, nothing hidden at its top."""
    folders, seen = ["."], 0
    while folders:
        folder = folders.pop()
        try:
            found = sorted(os.scandir(folder), key=lambda one: one.name)
        except OSError:
            continue
        for one in found:
            seen += 1
            if seen > _MOST_FILES:
                return
            path = one.path.removeprefix("./")
            if one.name.startswith(".") or not path.isprintable():
                continue
            try:
                info = one.stat(follow_symlinks=False)
            except OSError:
                continue
            if stat.S_ISDIR(info.st_mode):
                folders.append(one.path)
            elif stat.S_ISREG(info.st_mode):
                yield path, info


def left_behind(known: set[str], patterns: Sequence[str]) -> list[list[Any]]:
    """Files of the work folder that nobody asked for: name and size of the first ones.

    Args:
        known: files that were there before the cell ran.
        patterns: of files that are sent.
    """
    left = []
    for path, info in _regular_files():
        if path not in known and not any(_matches(path, pattern) for pattern in patterns):
            left.append([path[:200], info.st_size])
            if len(left) == _LEFT_BEHIND:
                break
    return left
