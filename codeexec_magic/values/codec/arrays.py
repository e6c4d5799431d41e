"""NumPy arrays and scalars: the plain bytes of an array, with type and shape beside them; never a pickle."""

from __future__ import annotations

import base64
import math
import re
from typing import TYPE_CHECKING, Any, Final

from .errors import Damaged, NotCarried

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .decode import Decoder, Reader
    from .encode import Encoded, Encoder, Rule

#: the types whose bytes are the value: booleans, numbers, times, fixed texts and bytes; no object, no pointer
_DTYPE: Final = re.compile(
    r"[<>|=](?:b1|[iu][1248]|f(?:2|4|8|16)|c(?:8|16|32)|[SU]\d{1,8}|[mM]8(?:\[\d{0,9}[A-Za-z]{1,7}\])?)"
)
_MAX_DIMENSIONS: Final = 32
_MAX_FIELDS: Final = 1000


def rule(kind: type) -> Rule | None:
    """How values of exactly this type are encoded."""
    import numpy as np

    if kind is np.ndarray:
        return _ndarray
    return _scalar if issubclass(kind, np.generic) else None


def describe_dtype(dtype: Any, path: str) -> Encoded:
    """A type as text, or the fields of a structured one as a list."""
    if dtype.names is None:
        if not _DTYPE.fullmatch(dtype.str) or dtype.metadata:
            raise NotCarried(f"{path} has elements of type {dtype}, which no safe format carries")
        return dtype.str
    described = [[name, describe_dtype(dtype[name], path)] for name in dtype.names]
    if read_dtype(described) != dtype:
        raise NotCarried(f"{path} has fields with gaps, titles or shapes")
    return described


def read_dtype(data: Any, depth: int = 0) -> Any:
    """The type that :func:`describe_dtype` described.

    Raises:
        Damaged: it is not one that is carried.
    """
    import numpy as np

    if isinstance(data, str) and _DTYPE.fullmatch(data):
        return np.dtype(data)
    if not isinstance(data, list) or not data or len(data) > _MAX_FIELDS or depth > 3:
        raise Damaged("no type of array elements that is carried")
    fields = []
    for name, kind in data:
        if not isinstance(name, str):
            raise Damaged("a field without a name")
        fields.append((name, read_dtype(kind, depth + 1)))
    return np.dtype(fields)


def _ndarray(encoder: Encoder, value: Any, path: str) -> Encoded:
    import numpy as np

    shape = list(value.shape)
    if value.dtype == object and not value.dtype.metadata:
        return {"$": "objects", "shape": shape, "v": encoder.items(value.ravel().tolist(), path)}
    dtype = describe_dtype(value.dtype, path)
    order = "F" if value.flags.f_contiguous and not value.flags.c_contiguous else "C"
    flat = value.T.reshape(-1) if order == "F" else np.ascontiguousarray(value).reshape(-1)
    data = flat.view(np.uint8).data if flat.nbytes else b""
    return {"$": "ndarray", "dtype": dtype, "shape": shape, "order": order, "part": encoder.part(data)}


def _scalar(encoder: Encoder, value: Any, path: str) -> Encoded:
    import numpy as np

    array = np.asarray(value)
    if type(array[()]) is not type(value):
        raise NotCarried(f"{path} is a {type(value).__name__}, which no safe format carries")
    dtype = describe_dtype(array.dtype, path)
    return {"$": "numpy", "dtype": dtype, "v": base64.b64encode(array.tobytes()).decode()}


def _shape(data: Any) -> tuple[int, ...]:
    if not isinstance(data, list) or len(data) > _MAX_DIMENSIONS:
        raise Damaged("no shape of an array")
    if not all(type(n) is int and 0 <= n < 1 << 48 for n in data):
        raise Damaged("no shape of an array")
    if math.prod(max(1, n) for n in data) >= 1 << 48:
        raise Damaged("no shape of an array")
    return tuple(data)


def _read_ndarray(decoder: Decoder, data: Any) -> Any:
    import numpy as np

    dtype, shape, part = read_dtype(data["dtype"]), _shape(data["shape"]), decoder.part(data["part"])
    if math.prod(shape) * dtype.itemsize != part.nbytes or data["order"] not in ("C", "F"):
        raise Damaged("an array whose length is not what its shape says")
    if not part.nbytes:
        return np.empty(shape, dtype, order=data["order"])
    _check_booleans(dtype, part)
    return np.frombuffer(part, dtype).reshape(shape, order=data["order"])


def _check_booleans(dtype: Any, part: memoryview) -> None:
    import numpy as np

    # a boolean that is neither 0 nor 1 makes compiled code, which counts with it, read elsewhere
    if dtype.names is not None:
        record = np.frombuffer(part, dtype)
        columns = [record[name] for name in dtype.names]
        if any(column.dtype.names is not None for column in columns):
            raise Damaged("fields in fields")
        flags = [column.view(np.uint8) for column in (np.ascontiguousarray(c) for c in columns if c.dtype.kind == "b")]
    else:
        flags = [np.frombuffer(part, np.uint8)] if dtype.kind == "b" else []
    if any(flag.size and flag.max() > 1 for flag in flags):
        raise Damaged("booleans that are neither true nor false")


def _read_objects(decoder: Decoder, data: Any) -> Any:
    import numpy as np

    shape, items = _shape(data["shape"]), decoder.items(data["v"])
    if math.prod(shape) != len(items):
        raise Damaged("an array whose length is not what its shape says")
    array = np.empty(len(items), object)
    for i, item in enumerate(items):
        array[i] = item
    return array.reshape(shape)


def _read_scalar(decoder: Decoder, data: Any) -> Any:
    import numpy as np

    dtype, raw = read_dtype(data["dtype"]), base64.b64decode(data["v"], validate=True)
    if dtype.itemsize != len(raw):
        raise Damaged("a number of another size than its type's")
    _check_booleans(dtype, memoryview(raw))
    return np.frombuffer(raw, dtype)[0] if raw else dtype.type()


READERS: Final[Mapping[str, Reader]] = {"ndarray": _read_ndarray, "objects": _read_objects, "numpy": _read_scalar}
