"""Large values as files in a folder that fsspec opens: a local one, S3, or whatever else it has a driver for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from codeexec_magic.errors import BadSetting, ClusterError, ValueLost

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


class Artifacts:
    """The folder that CODEEXEC_ARTIFACTS names.

    Args:
        url: of the folder; None: there is none.
        namespace: name of the folder below it.
    """

    def __init__(self, url: str | None, namespace: str) -> None:
        self._url, self._namespace = url, namespace
        self._opened: tuple[Any, str] | None = None

    @property
    def configured(self) -> bool:
        """Whether there is such a folder."""
        return self._url is not None

    def _open(self) -> tuple[Any, str]:
        """The file system and the folder.

        Raises:
            BadSetting: fsspec, or its driver for this URL, is not installed, or knows no such URL.
        """
        if self._opened is None:
            if self._url is None:
                raise ValueLost("a value is in a folder that CODEEXEC_ARTIFACTS does not name here")
            try:
                import fsspec

                files, folder = fsspec.core.url_to_fs(self._url, use_listings_cache=False, skip_instance_cache=True)
            except (ImportError, ValueError) as err:
                raise BadSetting(
                    f"CODEEXEC_ARTIFACTS: {err}: pip install 'codeexec-magic[artifacts]', and s3fs for s3://"
                ) from None
            folder = f"{folder.rstrip('/')}/{self._namespace}"
            self._run(lambda: files.makedirs(folder, exist_ok=True))
            self._opened = files, folder
        return self._opened

    @staticmethod
    def _run(call: Any) -> Any:
        try:
            return call()
        except FileNotFoundError:
            raise
        except Exception as err:
            raise ClusterError(f"CODEEXEC_ARTIFACTS cannot be used: {type(err).__name__}: {err}") from None

    def create(self, name: str) -> Any:
        """A new file to write to.

        Raises:
            ClusterError: it cannot be made.
        """
        files, folder = self._open()
        return self._run(lambda: files.open(f"{folder}/upload-{name}", "wb"))

    def rename(self, name: str, digest: str) -> str:
        """Give a written file the name of its content; returns its place.

        Raises:
            ClusterError: that failed.
        """
        files, folder = self._open()
        self._run(lambda: files.mv(f"{folder}/upload-{name}", f"{folder}/{digest}"))
        return f"{self._namespace}/{digest}"

    def read(self, digest: str, size: int) -> Iterator[bytes]:
        """The bytes of a value, in pieces of ``size``.

        Raises:
            ValueLost: it is not there.
            ClusterError: it cannot be read.
        """
        files, folder = self._open()
        try:
            with self._run(lambda: files.open(f"{folder}/{digest}", "rb", cache_type="none")) as file:
                while chunk := self._run(lambda: file.read(size)):
                    yield chunk
        except FileNotFoundError:
            raise ValueLost("a value is not in CODEEXEC_ARTIFACTS any more: run its cell again") from None

    def digests(self) -> list[str]:
        """The values that are there."""
        files, folder = self._open()
        names = [str(path).rpartition("/")[2] for path in self._run(lambda: files.ls(folder, detail=False))]
        return [name for name in names if _DIGEST.fullmatch(name)]

    def remove(self, name: str) -> int:
        """Remove a value, or an upload that failed; 1 if it was there."""
        files, folder = self._open()
        path = f"{folder}/{name}" if _DIGEST.fullmatch(name) else f"{folder}/upload-{name}"
        try:
            self._run(lambda: files.rm_file(path))
        except (FileNotFoundError, ClusterError):
            return 0
        return 1
