"""What the job record says of a value: where its bytes are and what they are. Standard library only."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from codeexec_magic.errors import DecodeError

#: values up to this size travel in the job record itself (bytes)
INLINE: Final = 2048
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_FIELDS: Final[Mapping[str, type]] = {
    "hash": str,
    "size": int,
    "kind": str,
    "type": str,
    "preview": str,
    "python": str,
    "data": str,
}


@dataclass(frozen=True)
class ValueRef:
    """A value by the hash of its bytes."""

    hash: str  #: SHA-256 of the bytes, hexadecimal
    size: int  #: bytes
    kind: str = "safe"  #: ``safe``, or ``pickle``: unpickled in sandboxes only
    type: str = ""  #: name of the value's type
    preview: str = ""  #: of a pickled value: its text
    python: str = ""  #: of a pickled value: the version of Python that made it
    data: str = ""  #: the bytes themselves in base64, of a small value

    @classmethod
    def inline(cls, data: bytes, kind: str, type_name: str, preview: str = "", python: str = "") -> ValueRef:
        """Of a small value."""
        text = base64.b64encode(data).decode()
        return cls(hashlib.sha256(data).hexdigest(), len(data), kind, type_name, preview, python, text)

    @property
    def stored(self) -> bool:
        """Whether the bytes are in the content store."""
        return not self.data

    def bytes(self) -> bytes:
        """The bytes of a small value.

        Raises:
            DecodeError: they are not what the hash says.
        """
        try:
            data = base64.b64decode(self.data, validate=True)
        except (binascii.Error, ValueError):
            raise DecodeError("a value's bytes are no base64") from None
        if len(data) != self.size or hashlib.sha256(data).hexdigest() != self.hash:
            raise DecodeError("a value's bytes are not what its hash says")
        return data

    def as_dict(self) -> dict[str, Any]:
        """The wire form."""
        return {name: value for name, value in vars(self).items() if value != ""}

    @classmethod
    def from_dict(cls, data: Any) -> ValueRef:
        """Decode and validate.

        Raises:
            DecodeError: anything missing, unknown or of the wrong type.
        """
        if not isinstance(data, Mapping) or not data.keys() <= _FIELDS.keys() or not {"hash", "size"} <= data.keys():
            raise DecodeError("a value must be an object with hash, size, kind and type")
        for name, value in data.items():
            if type(value) is not _FIELDS[name]:
                raise DecodeError(f"a value's {name} has the wrong type: {type(value).__name__}")
        ref = cls(**data)
        if not _HASH.fullmatch(ref.hash) or ref.size < 0 or ref.kind not in ("safe", "pickle"):
            raise DecodeError("a value's hash, size or kind makes no sense")
        if len(ref.data) > 2 * INLINE or len(ref.preview) > 4096 or len(ref.type) > 256 or len(ref.python) > 16:
            raise DecodeError("a value's description is too long")
        return ref


def decode_refs(data: Any, what: str) -> dict[str, ValueRef]:
    """Values by name.

    Args:
        data: the wire form.
        what: names it in errors.

    Raises:
        DecodeError: a name is no variable's, or a value makes no sense.
    """
    if not isinstance(data, Mapping):
        raise DecodeError(f"{what} must be an object")
    for name in data:
        if not isinstance(name, str) or not name.isidentifier():
            raise DecodeError(f"{what}: {str(name)[:80]!r} cannot be a variable name")
    return {name: ref if isinstance(ref, ValueRef) else ValueRef.from_dict(ref) for name, ref in data.items()}


def check_path(path: Any) -> str:
    """A path below a folder, as it may come from a cell.

    Args:
        path: with ``/`` between its parts.

    Raises:
        DecodeError: it is no text, leads elsewhere, or has characters that a terminal or file system acts on.
    """
    if not isinstance(path, str) or not 0 < len(path) <= 1000 or not path.isprintable() or "\\" in path:
        raise DecodeError("a file's path is too long or has characters that are not allowed")
    for part in path.split("/"):
        if part in ("", ".", "..") or len(part.encode("utf-8", "replace")) > 255:
            raise DecodeError(f"the path {path[:100]!r} does not lead into a folder")
    return path


@dataclass(frozen=True)
class FileRef:
    """A file by its path and the hash of its bytes."""

    path: str  #: below the work folder
    mode: int  #: permission bits
    ref: ValueRef

    @property
    def size(self) -> int:
        """Bytes."""
        return self.ref.size

    def as_dict(self) -> dict[str, Any]:
        """The wire form."""
        return {"path": self.path, "mode": self.mode, "ref": self.ref.as_dict()}

    @classmethod
    def from_dict(cls, data: Any) -> FileRef:
        """Decode and validate.

        Raises:
            DecodeError: anything missing, unknown or of the wrong type.
        """
        if isinstance(data, cls):
            return data
        if not isinstance(data, Mapping) or data.keys() != {"path", "mode", "ref"}:
            raise DecodeError("a file must be an object with path, mode and ref")
        if type(data["mode"]) is not int or not 0 <= data["mode"] <= 0o777:
            raise DecodeError("a file's mode must be permission bits")
        return cls(check_path(data["path"]), data["mode"], ValueRef.from_dict(data["ref"]))
