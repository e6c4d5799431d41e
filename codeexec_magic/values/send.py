"""From values of the kernel to what a request says of them: the safe form where there is one, else a pickle.

A pickle is safe in this direction: the sandbox opens it.
"""

from __future__ import annotations

import contextlib
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from codeexec_magic.errors import BadValue
from codeexec_magic.values.codec.container import Packed
from codeexec_magic.values.codec.encode import pack
from codeexec_magic.values.codec.errors import NotCarried
from codeexec_magic.values.codec.pickled import pack_pickle
from codeexec_magic.values.ref import INLINE, ValueRef
from codeexec_magic.values.remote import RemoteValue
from codeexec_magic.values.store import ValueStore


def prepare(value: Any, name: str) -> Packed | ValueRef:
    """A value ready to be sent; nothing is sent yet.

    Args:
        value: the value.
        name: of the variable.

    Raises:
        BadValue: it cannot be sent.
    """
    if isinstance(value, RemoteValue):
        return value.ref
    if isinstance(value, Packed):
        return value
    try:
        return pack(value, name)
    except NotCarried:
        pass
    try:
        return pack_pickle(value, name, _cloudpickle(value))
    except NotCarried as err:
        raise BadValue(str(err)) from None


def send(inputs: Mapping[str, Any], store: Callable[[], ValueStore]) -> dict[str, ValueRef]:
    """Put values into the store.

    Args:
        inputs: values by name.
        store: makes the store, when one is needed.

    Raises:
        BadValue: a value cannot be sent, or is too large; nothing has been sent then, or what was expires.
        ValueStoreFull: there is no room.
        ClusterError: the server cannot be reached, or its memory is full.
    """
    prepared = {name: prepare(value, name) for name, value in inputs.items()}
    return {name: one if isinstance(one, ValueRef) else _put(one, name, store) for name, one in prepared.items()}


def _put(packed: Packed, name: str, store: Callable[[], ValueStore]) -> ValueRef:
    if packed.size <= INLINE:
        return ValueRef.inline(packed.to_bytes(), packed.kind, packed.type, packed.preview, packed.python)
    return store().put(packed, name)


def _cloudpickle(value: Any) -> Callable[[Any], bytes]:
    try:
        import cloudpickle
    except ImportError:
        raise BadValue(
            f"functions, classes and values of type {type(value).__name__} need cloudpickle: pip install cloudpickle"
        ) from None

    def dumps(value: Any) -> bytes:
        with _local_modules_by_value(value):
            return bytes(cloudpickle.dumps(value))

    return dumps


@contextlib.contextmanager
def _local_modules_by_value(value: Any) -> Iterator[None]:
    """A function or class of a module that only this machine has travels whole, as one of the notebook does."""
    import cloudpickle

    kind = value if callable(value) and hasattr(value, "__module__") else type(value)
    module = sys.modules.get(getattr(kind, "__module__", None) or "")
    if module is None or isinstance(value, ModuleType) or not _local(module):
        yield
        return
    cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        cloudpickle.unregister_pickle_by_value(module)


def _local(module: ModuleType) -> bool:
    """Whether the module is a file of the user's, not one of an installed package."""
    file = getattr(module, "__file__", None)
    if file is None or module.__name__ == "__main__":
        return False
    installed = [Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib")]
    place = Path(file).resolve()
    return not any(place.is_relative_to(folder) for folder in installed)
