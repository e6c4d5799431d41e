"""The values of a result: read when they are looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from codeexec_magic.errors import ValueLost
from codeexec_magic.hostile_text import one_line
from codeexec_magic.values.codec import container, decode
from codeexec_magic.values.codec.errors import Damaged
from codeexec_magic.values.ref import ValueRef
from codeexec_magic.values.remote import RemoteValue
from codeexec_magic.values.store import ValueStore


class ReceivedValues(Mapping[str, Any]):
    """Values by name. Each is fetched and decoded once, when it is first asked for.

    Args:
        refs: what the record says of them.
        problems: why others did not come, by name.
        store: makes the store, when one is needed.
    """

    def __init__(
        self, refs: Mapping[str, ValueRef], problems: Mapping[str, str], store: Callable[[], ValueStore]
    ) -> None:
        self.refs = refs
        self._problems, self._store = problems, store
        self._read: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        """The value.

        Raises:
            ValueLost: it did not come back, has expired, or is damaged; the text says which.
            ClusterError: the server cannot be reached.
            ImportError: it needs a library that is not installed here.
        """
        if name not in self.refs:
            if name in self._problems:
                raise ValueLost(self._problems[name])
            raise KeyError(name)
        if name not in self._read:
            self._read[name] = receive(name, self.refs[name], self._store)
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.refs)

    def __len__(self) -> int:
        return len(self.refs)

    def __contains__(self, name: object) -> bool:
        return name in self.refs

    def __repr__(self) -> str:
        kinds = ", ".join(f"{name}: {one_line(ref.type, 60)}" for name, ref in self.refs.items())
        return f"<values {kinds or 'none'}>"


def receive(name: str, ref: ValueRef, store: Callable[[], ValueStore]) -> Any:
    """The value, or a handle on one that stays away.

    Args:
        name: of the variable, for errors.
        ref: what the record says of it.
        store: makes the store, when one is needed.

    Raises:
        ValueLost: it has expired or is damaged.
        ClusterError: the server cannot be reached.
        ImportError: it needs a library that is not installed here.
    """
    if ref.kind == "pickle":
        return RemoteValue(ref, store())
    data = store().load(ref) if ref.stored else bytearray(ref.bytes())
    try:
        header, parts = container.unpack(data)
        if header["kind"] != "safe":
            raise Damaged("it is a pickle that claims to be safe")
        return decode.decode(header, parts)
    except Damaged as err:
        raise ValueLost(f"{name} did not come back: {one_line(err, 400)}") from None
    except ImportError as err:
        what = f"{name} is a {one_line(ref.type, 60)}, which needs a library that is not installed here"
        raise ImportError(f"{what}: {one_line(err, 200)}") from None
