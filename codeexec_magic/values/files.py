"""Files on their way into a cell's work folder, and those a cell made on their way back."""

from __future__ import annotations

import contextlib
import os
import stat
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from os import PathLike
from pathlib import Path
from typing import Final

from codeexec_magic.contract import ExecutionResult
from codeexec_magic.errors import BadRequest, DecodeError
from codeexec_magic.hostile_text import one_line
from codeexec_magic.quantities import size_text
from codeexec_magic.values.ref import INLINE, FileRef, ValueRef, check_path
from codeexec_magic.values.store import CHUNK, ValueStore

#: files that go along with one cell
MOST_FILES: Final = 1000


class BadFile(BadRequest):
    """A file cannot be sent, or not be written."""


def find_files(paths: Iterable[str | PathLike[str]]) -> dict[str, Path]:
    """The regular files that these paths name, by the path they get in the work folder.

    Args:
        paths: files, and folders with all that is in them; each keeps its own name, not the folders above it.

    Raises:
        BadFile: one does not exist, is a link or no regular file, or there are too many.
    """
    if isinstance(paths, str):
        paths = [paths]
    found: dict[str, Path] = {}
    for given in paths:
        path = Path(given).expanduser()
        base = path.resolve().name if path.name in ("", ".", "..") else path.name
        for name, file in _below(path, base):
            if name in found and found[name] != file:
                raise BadFile(f"upload {given}: two files would be called {name}")
            try:
                found[check_path(name)] = file
            except DecodeError as err:
                raise BadFile(f"upload {given}: {err}") from None
            if len(found) > MOST_FILES:
                raise BadFile(f"upload {given}: more than {MOST_FILES} files; send an archive")
    return found


def _below(path: Path, name: str) -> Iterator[tuple[str, Path]]:
    try:
        mode = path.lstat().st_mode
    except OSError as err:
        raise BadFile(f"upload {path}: {err.strerror}") from None
    if stat.S_ISREG(mode):
        yield name, path
    elif stat.S_ISDIR(mode):
        for one in sorted(path.iterdir()):
            yield from _below(one, f"{name}/{one.name}")
    else:
        raise BadFile(f"upload {path}: only regular files and folders are sent, no links or devices")


def send_files(files: Mapping[str, Path], store: Callable[[], ValueStore]) -> tuple[FileRef, ...]:
    """Put files into the store.

    Args:
        files: by the path they get in the work folder.
        store: makes the store, when one is needed.

    Raises:
        BadFile: one cannot be read, or changes meanwhile.
        BadValue: one is too large.
        ValueStoreFull: there is no room.
        ClusterError: the server cannot be reached, or its memory is full.
    """
    return tuple(_send_file(path, file, store) for path, file in files.items())


def _send_file(path: str, file: Path, store: Callable[[], ValueStore]) -> FileRef:
    try:
        fd = os.open(file, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError as err:
        raise BadFile(f"upload {file}: {err.strerror}") from None
    with os.fdopen(fd, "rb", buffering=0) as opened:
        info = os.fstat(fd)
        mode = info.st_mode & 0o777
        if info.st_size <= INLINE:
            return FileRef(path, mode, ValueRef.inline(opened.read(INLINE + 1), "safe", "file"))
        upload = store().upload(info.st_size, path)
        try:
            while chunk := opened.read(CHUNK):
                upload.write(chunk)
            return FileRef(path, mode, ValueRef(upload.commit(), info.st_size, "safe", "file"))
        except BaseException as err:
            upload.abort()
            if isinstance(err, BadRequest):
                raise BadFile(f"upload {file}: it changed while it was read") from None
            raise


def check_patterns(patterns: Iterable[str]) -> list[str]:
    """Patterns of files that are to come back.

    Raises:
        BadFile: one leads out of the work folder.
    """
    checked = []
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        plain = str(pattern).removeprefix("./")
        if not plain or len(plain) > 500 or plain.startswith(("/", "~")) or ".." in plain.split("/"):
            raise BadFile(f"download {one_line(pattern, 100)}: patterns name files of the cell's work folder")
        checked.append(plain)
    return checked


def download(
    result: ExecutionResult, pattern: str, to: Path, store: Callable[[], ValueStore], *, overwrite: bool = False
) -> list[Path]:
    """Write files that came back into a folder.

    Args:
        result: names the files.
        pattern: of their paths, or a folder.
        to: the folder.
        store: makes the store, when one is needed.
        overwrite: replace files that exist.

    Raises:
        BadFile: no file matches, one exists, or a link stands in its way.
        ValueLost: one has expired.
        ClusterError: the store cannot be reached.
    """
    wanted = [file for file in result.files if _matches(file.path, pattern)]
    if not wanted:
        there = ", ".join(f"{file.path} ({size_text(file.size)})" for file in result.files[:10]) or "none came back"
        raise BadFile(f"download {one_line(pattern, 100)}: no file matches; there are: {there}")
    places = [_Place(to, file, overwrite=overwrite) for file in wanted]
    return [place.write(store) for place in places]


def _matches(path: str, pattern: str) -> bool:
    pattern = pattern.removeprefix("./")
    return fnmatchcase(path, pattern) or path.startswith(pattern.rstrip("/") + "/")


class _Place:
    """Where a file goes: below the folder, whatever its path says, and whatever links are there."""

    def __init__(self, to: Path, file: FileRef, *, overwrite: bool) -> None:
        self._to, self._file = to, file
        self._parts = check_path(file.path).split("/")
        target = to.joinpath(*self._parts)
        for above in (to.joinpath(*self._parts[:i]) for i in range(1, len(self._parts))):
            if above.is_symlink() or (above.exists() and not above.is_dir()):
                raise BadFile(f"download {file.path}: {above} is a link or file and stands in its way")
        if target.is_symlink() or target.exists():
            if target.is_symlink() or not target.is_file():
                raise BadFile(f"download {file.path}: {target} is no regular file and stands in its way")
            if not overwrite:
                raise BadFile(f"download {file.path}: {target} exists; use overwrite=True or --overwrite to replace it")

    def write(self, store: Callable[[], ValueStore]) -> Path:
        """Write it: beside its place first, so that no half of a file ever has the name."""
        self._to.mkdir(parents=True, exist_ok=True)
        folder = os.open(self._to, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for part in self._parts[:-1]:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, dir_fd=folder)
                inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
                os.close(folder)
                folder = inner
            self._write_in(folder, store)
        except OSError as err:
            raise BadFile(f"download {self._file.path}: {err.strerror}") from None
        finally:
            os.close(folder)
        return self._to.joinpath(*self._parts)

    def _write_in(self, folder: int, store: Callable[[], ValueStore]) -> None:
        ref, name = self._file.ref, f".{uuid.uuid4().hex}.part"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        # never with rights that the notebook's own files do not have
        fd = os.open(name, flags, self._file.mode & 0o777, dir_fd=folder)
        try:
            with os.fdopen(fd, "wb") as opened:
                for chunk in store().chunks(ref) if ref.stored else [ref.bytes()]:
                    opened.write(chunk)
            os.rename(name, self._parts[-1], src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=folder)
            raise
