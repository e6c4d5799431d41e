"""From a Python value to its safe form: tagged JSON and binary parts.

Plain JSON stands for itself. An object with the key ``$`` carries what JSON lacks; the value of ``$`` names it::

    {"$": "tuple", "v": [1, 2]}    {"$": "ndarray", "dtype": "<f8", "shape": [3], "part": 0}
"""

from __future__ import annotations

import base64
import math
from array import array
from collections.abc import Callable, Mapping
from typing import Any, Final

# all of them at once: a cell cannot load modules of ours any more
from . import arrays, images, pandas_encode, polars_frames, scalars
from .container import MAX_PARTS, Buffer, Packed
from .errors import NotCarried

#: deepest nesting of containers; each may take two levels of the header's JSON
MAX_NESTING: Final = 40
#: shorter bytes travel inside the header
_INLINE_BYTES: Final = 512
#: lists of numbers that are longer travel as a binary part
_PACK_NUMBERS: Final = 64
#: most characters of the JSON that is made, lower than what a decoder takes
_MAX_JSON: Final = 48 << 20

Encoded = Any
Rule = Callable[["Encoder", Any, str], Encoded]


class Encoder:
    """One walk over a value.

    Args:
        by_name: whether enum members go by name and dataclass instances as dictionaries with their name, as on the way
            to a notebook; on the way to a cell, which need not have their classes, they are refused.
    """

    def __init__(self, *, by_name: bool = False) -> None:
        self.parts: list[Buffer] = []
        self._above: set[int] = set()  # containers around the part that is looked at
        self._depth = 0
        self._written = 0
        self._by_name = by_name

    def part(self, data: Buffer) -> int:
        """Add a binary part; its number."""
        if len(self.parts) >= MAX_PARTS:
            raise NotCarried(f"more than {MAX_PARTS:,} binary parts")
        self.parts.append(data)
        return len(self.parts) - 1

    def encode(self, value: Any, path: str) -> Encoded:
        """The tagged JSON of a value.

        Args:
            value: the value.
            path: how the value is reached from the variable, for the reason.

        Raises:
            NotCarried: the value, or a part of it, has no safe form.
        """
        kind = type(value)
        if value is None or kind is bool:
            return value
        if kind is str:
            return self._text(value, path)
        if kind is int:
            return value if -(1 << 63) <= value < 1 << 64 else {"$": "int", "v": hex(value)}
        if kind is float:
            return value if math.isfinite(value) else {"$": "float", "v": str(value)}
        rule = _rule(kind)
        if rule is not None:
            return self._inside(value, path, rule)
        return self._instance(value, path)

    def _inside(self, value: Any, path: str, rule: Rule) -> Encoded:
        if id(value) in self._above:
            raise NotCarried(f"{path} contains itself")
        if self._depth >= MAX_NESTING:
            raise NotCarried(f"{path} is nested more than {MAX_NESTING} levels deep")
        self._above.add(id(value))
        self._depth += 1
        try:
            return rule(self, value, path)
        finally:
            self._depth -= 1
            self._above.discard(id(value))

    def _instance(self, value: Any, path: str) -> Encoded:
        """Values whose class is the user's own: enum members and dataclass instances."""
        if self._by_name:
            from enum import Enum

            if isinstance(value, Enum) and type(value).__members__.get(value.name) is value:
                return {"$": "enum", "type": _class_name(value), "v": value.name}
            if hasattr(type(value), "__dataclass_fields__") and not isinstance(value, type):
                return self._inside(value, path, _dataclass)
        raise NotCarried(f"{path} is a {type(value).__name__}, which no safe format carries")

    def items(self, values: Any, path: str) -> list[Encoded]:
        """The elements of a sequence or set."""
        self._count(2 * len(values))
        return [self.encode(item, f"{path}[{i}]") for i, item in enumerate(values)]

    def _text(self, value: str, path: str) -> Encoded:
        self._count(len(value) + 2)
        del path
        return value

    def _count(self, characters: int) -> None:
        # a value made of many small objects is bounded here: the decoder would refuse what is longer
        self._written += characters
        if self._written > _MAX_JSON:
            raise NotCarried(f"more than {_MAX_JSON >> 20} MB of small objects: put them into an array or a frame")


def _class_name(value: Any) -> list[str]:
    return [str(type(value).__module__), type(value).__qualname__]


# -- the standard library's types ---------------------------------------------------------------------------------


def _list(encoder: Encoder, value: list[Any], path: str) -> Encoded:
    if len(value) > _PACK_NUMBERS and type(value[0]) in (int, float):
        packed = _packed_numbers(value)
        if packed is not None:
            return {"$": "numbers", "dtype": packed.typecode, "part": encoder.part(packed.tobytes())}
    return encoder.items(value, path)


def _packed_numbers(value: list[Any]) -> array[Any] | None:
    kind = type(value[0])
    if any(type(item) is not kind for item in value):
        return None
    try:
        return array("q" if kind is int else "d", value)
    except OverflowError:
        return None


def _tagged(tag: str) -> Rule:
    return lambda encoder, value, path: {"$": tag, "v": encoder.items(value, path)}


def _set(tag: str) -> Rule:
    def rule(encoder: Encoder, value: Any, path: str) -> Encoded:
        # in an order of their own: equal sets have equal bytes, and with them one place in the cache
        items = encoder.items(value, path)
        return {"$": tag, "v": sorted(items, key=repr)}

    return rule


def _dict(encoder: Encoder, value: dict[Any, Any], path: str) -> Encoded:
    if all(type(key) is str for key in value) and "$" not in value:
        encoder._count(sum(map(len, value)) + 4 * len(value))
        return {key: encoder.encode(item, f"{path}[{key!r}]") for key, item in value.items()}
    return {"$": "dict", "v": _pairs(encoder, value, path)}


def _pairs(encoder: Encoder, value: Mapping[Any, Any], path: str) -> list[Encoded]:
    encoder._count(6 * len(value))
    flat = []
    for key, item in value.items():
        flat += [encoder.encode(key, f"a key of {path}"), encoder.encode(item, f"{path}[{_short(key)}]")]
    return flat


def _short(key: Any) -> str:
    try:
        text = repr(key)
    except Exception:
        text = f"<{type(key).__name__}>"
    return text if len(text) <= 60 else text[:59] + "…"


def _mapping(tag: str) -> Rule:
    return lambda encoder, value, path: {"$": tag, "v": _pairs(encoder, value, path)}


def _defaultdict(encoder: Encoder, value: Any, path: str) -> Encoded:
    factory = value.default_factory
    if factory not in (None, int, float, str, list, dict, set, bool, tuple):
        raise NotCarried(f"{path} is a defaultdict whose factory is not a built-in type")
    name = factory.__name__ if factory else None
    return {"$": "defaultdict", "factory": name, "v": _pairs(encoder, value, path)}


def _deque(encoder: Encoder, value: Any, path: str) -> Encoded:
    return {"$": "deque", "maxlen": value.maxlen, "v": encoder.items(value, path)}


def _bytes(tag: str) -> Rule:
    def rule(encoder: Encoder, value: Any, path: str) -> Encoded:
        del path
        if len(value) > _INLINE_BYTES:
            return {"$": tag, "part": encoder.part(value)}
        encoder._count(2 * len(value))
        return {"$": tag, "v": base64.b64encode(value).decode()}

    return rule


def _complex(encoder: Encoder, value: complex, path: str) -> Encoded:
    return {"$": "complex", "v": [encoder.encode(value.real, path), encoder.encode(value.imag, path)]}


def _range(encoder: Encoder, value: range, path: str) -> Encoded:
    return {"$": "range", "v": [encoder.encode(n, path) for n in (value.start, value.stop, value.step)]}


def _slice(encoder: Encoder, value: slice, path: str) -> Encoded:
    return {"$": "slice", "v": [encoder.encode(n, path) for n in (value.start, value.stop, value.step)]}


def _dataclass(encoder: Encoder, value: Any, path: str) -> Encoded:
    fields = {name: getattr(value, name) for name in type(value).__dataclass_fields__ if hasattr(value, name)}
    return {
        "$": "dataclass",
        "type": _class_name(value),
        "v": {name: encoder.encode(item, f"{path}.{name}") for name, item in fields.items()},
    }


_BUILTIN: Final[Mapping[tuple[str, str], Rule]] = {
    ("builtins", "list"): _list,
    ("builtins", "tuple"): _tagged("tuple"),
    ("builtins", "dict"): _dict,
    ("builtins", "set"): _set("set"),
    ("builtins", "frozenset"): _set("frozenset"),
    ("builtins", "bytes"): _bytes("bytes"),
    ("builtins", "bytearray"): _bytes("bytearray"),
    ("builtins", "complex"): _complex,
    ("builtins", "range"): _range,
    ("builtins", "slice"): _slice,
    ("builtins", "ellipsis"): lambda encoder, value, path: {"$": "ellipsis"},
    ("collections", "OrderedDict"): _mapping("OrderedDict"),
    ("collections", "Counter"): _mapping("Counter"),
    ("collections", "defaultdict"): _defaultdict,
    ("collections", "deque"): _deque,
}


def _rule(kind: type) -> Rule | None:
    """The rule for exactly this type: a subclass may mean something else by the same content."""
    module, name = kind.__module__, kind.__qualname__
    rule = _BUILTIN.get((module, name))
    if rule is not None:
        return rule
    package = module.partition(".")[0]
    if package in ("datetime", "decimal", "fractions", "uuid", "pathlib", "zoneinfo"):
        return scalars.RULES.get(name)
    if package == "numpy":
        return arrays.rule(kind)
    if package == "pandas":
        return pandas_encode.rule(kind)
    if package == "polars":
        return polars_frames.rule(kind)
    if package == "PIL":
        return images.rule(kind)
    return None


def type_name(value: Any) -> str:
    """The name of a value's type, with its package where it is not a built-in one."""
    kind = type(value)
    package = str(kind.__module__).partition(".")[0]
    name = kind.__qualname__ if package in ("builtins", "__main__") else f"{package}.{kind.__qualname__}"
    return name[:200]


def pack(value: Any, name: str, *, by_name: bool = False) -> Packed:
    """A value in its safe form.

    Args:
        value: the value.
        name: of the variable, which a reason starts with.
        by_name: see :class:`Encoder`.

    Raises:
        NotCarried: the value, or a part of it, has no safe form.
    """
    encoder = Encoder(by_name=by_name)
    try:
        encoded = encoder.encode(value, name)
        return Packed({"kind": "safe", "type": type_name(value), "value": encoded}, encoder.parts)
    except RecursionError:
        raise NotCarried(f"{name} is nested too deeply") from None
