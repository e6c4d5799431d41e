"""From the safe form back to a value. The bytes may be forged: whatever they are, nothing but data comes of them.

Only constructors of a fixed set of types are called, each with checked arguments; no name that the bytes hold is
imported, and no attribute of that name is looked up, except for members of enum classes that are loaded already.
"""

from __future__ import annotations

import base64
import sys
from array import array
from collections.abc import Callable, Mapping
from typing import Any, Final

# all of them at once: a cell cannot load modules of ours any more
from . import arrays, images, pandas_decode, polars_frames, scalars
from .container import MAX_DEPTH, MAX_SPELLED_OUT, Buffer, unpack
from .errors import Damaged

Reader = Callable[["Decoder", Any], Any]

#: keys of one hash value that a set or dictionary may have: more can only be made on purpose, and take for ever
_COLLISIONS: Final = 100


class Record(dict[str, Any]):
    """A dataclass instance that came from a cell: its fields, and the name of its class."""

    def __init__(self, type_name: str, fields: Mapping[str, Any]) -> None:
        super().__init__(fields)
        #: qualified name of the dataclass
        self.type_name = type_name

    def __repr__(self) -> str:
        return f"{self.type_name}({', '.join(f'{name}={value!r}' for name, value in self.items())})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.type_name, dict(self))


class EnumMember(str):
    """The name of an enum member whose class is not loaded here."""

    type_name: str  #: qualified name of the enum class

    def __new__(cls, type_name: str, name: str) -> EnumMember:
        """Make one."""
        made = super().__new__(cls, name)
        made.type_name = type_name
        return made

    def __repr__(self) -> str:
        return f"<{self.type_name}.{self!s}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.type_name, str(self))


class Decoder:
    """One value being read.

    Args:
        parts: the binary parts.
    """

    def __init__(self, parts: list[memoryview]) -> None:
        self._parts: list[memoryview | None] = list(parts)
        self._depth = 0
        self._spelled_out = 0

    def spell_out(self, count: int) -> None:
        """Count numbers that are made of a range, of which a few bytes stand for any length.

        Raises:
            Damaged: there are too many in this value.
        """
        self._spelled_out += count
        if self._spelled_out > 2 * MAX_SPELLED_OUT:
            raise Damaged("ranges that are too long")

    def part(self, number: Any) -> memoryview:
        """A binary part by its number; each is read once, or a small value could be made of many copies of it.

        Raises:
            Damaged: there is no such part, or it was read before.
        """
        if type(number) is not int or not 0 <= number < len(self._parts):
            raise Damaged("a part that does not exist")
        part, self._parts[number] = self._parts[number], None
        if part is None:
            raise Damaged("a part that is used twice")
        return part

    def items(self, data: Any) -> list[Any]:
        """The decoded elements of a list."""
        if not isinstance(data, list):
            raise Damaged("no list")
        return [self.decode(item) for item in data]

    def decode(self, data: Any) -> Any:
        """The value that tagged JSON stands for.

        Raises:
            Damaged: it stands for none.
        """
        if not isinstance(data, list | dict):
            return data
        if self._depth > MAX_DEPTH:
            raise Damaged("nested too deeply")
        self._depth += 1
        try:
            if isinstance(data, list):
                return [self.decode(item) for item in data]
            if "$" not in data:
                return {key: self.decode(item) for key, item in data.items()}
            return _reader(data["$"])(self, data)
        finally:
            self._depth -= 1

    def pairs(self, data: Any) -> dict[Any, Any]:
        """A dictionary from its keys and values in turn."""
        flat = self.items(data)
        if len(flat) % 2:
            raise Damaged("a key without a value")
        check_hashes(flat[::2])
        return dict(zip(flat[::2], flat[1::2], strict=True))


def check_hashes(keys: list[Any]) -> None:
    """Refuse keys made to have equal hashes.

    Raises:
        Damaged: they were.
        TypeError: one has no hash.
    """
    if len(keys) > _COLLISIONS:
        counts: dict[int, int] = {}
        for key in keys:
            number = hash(key)
            counts[number] = counts.get(number, 0) + 1
        if max(counts.values()) > _COLLISIONS:
            raise Damaged("keys that all have the same hash")


def _numbers(decoder: Decoder, data: Any) -> list[Any]:
    part = decoder.part(data["part"])
    if data["dtype"] not in ("q", "d") or part.nbytes % 8:
        raise Damaged("no list of numbers")
    numbers = array(data["dtype"])
    numbers.frombytes(part)
    return numbers.tolist()


def _bytes(decoder: Decoder, data: Any) -> bytes:
    return bytes(decoder.part(data["part"])) if "part" in data else base64.b64decode(data["v"], validate=True)


def _set(decoder: Decoder, data: Any) -> set[Any]:
    items = decoder.items(data["v"])
    check_hashes(items)
    return set(items)


def _int(decoder: Decoder, data: Any) -> int:
    if not isinstance(data["v"], str) or not data["v"].lstrip("-").startswith("0x"):
        raise Damaged("no whole number")
    return int(data["v"], 16)


def _whole_numbers(data: Any, decoder: Decoder) -> list[Any]:
    numbers = decoder.items(data["v"])
    if len(numbers) != 3 or not all(number is None or type(number) is int for number in numbers):
        raise Damaged("no bounds")
    return numbers


def _float(decoder: Decoder, data: Any) -> float:
    return {"nan": float("nan"), "inf": float("inf"), "-inf": float("-inf")}[data["v"]]


def _complex(decoder: Decoder, data: Any) -> complex:
    real, imaginary = decoder.items(data["v"])
    if type(real) is not float or type(imaginary) is not float:
        raise Damaged("no complex number")
    return complex(real, imaginary)


def _defaultdict(decoder: Decoder, data: Any) -> Any:
    from collections import defaultdict

    kinds: dict[Any, Any] = {kind.__name__: kind for kind in (int, float, str, list, dict, set, bool, tuple)}
    return defaultdict({None: None, **kinds}[data["factory"]], decoder.pairs(data["v"]))


def _deque(decoder: Decoder, data: Any) -> Any:
    from collections import deque

    if data["maxlen"] is not None and type(data["maxlen"]) is not int:
        raise Damaged("no deque")
    return deque(decoder.items(data["v"]), data["maxlen"])


def _ordered_dict(decoder: Decoder, data: Any) -> Any:
    from collections import OrderedDict

    return OrderedDict(decoder.pairs(data["v"]))


def _counter(decoder: Decoder, data: Any) -> Any:
    from collections import Counter

    return Counter(decoder.pairs(data["v"]))


def _names(data: Any) -> tuple[str, str]:
    module, name = data["type"]
    if not isinstance(module, str) or not isinstance(name, str) or len(name) > 500:
        raise Damaged("no class")
    return module, name


def _enum(decoder: Decoder, data: Any) -> Any:
    from enum import EnumMeta

    module, name = _names(data)
    if not isinstance(data["v"], str):
        raise Damaged("no enum member")
    # a class that is loaded already, found without running anything of its module
    found: Any = vars(sys.modules[module]) if module in sys.modules else {}
    for step in name.split("."):
        found = found.get(step) if isinstance(found, dict) else None
        if isinstance(found, type) and not name.endswith(step):
            found = dict(vars(found))
    if type(found) is EnumMeta and data["v"] in found.__members__:
        return found.__members__[data["v"]]
    return EnumMember(name, data["v"])


def _dataclass(decoder: Decoder, data: Any) -> Record:
    _, name = _names(data)
    if not isinstance(data["v"], dict):
        raise Damaged("no dataclass")
    return Record(name, {key: decoder.decode(item) for key, item in data["v"].items()})


_BUILTIN: Final[Mapping[str, Reader]] = {
    "int": _int,
    "float": _float,
    "complex": _complex,
    "numbers": _numbers,
    "tuple": lambda decoder, data: tuple(decoder.items(data["v"])),
    "set": _set,
    "frozenset": lambda decoder, data: frozenset(_set(decoder, data)),
    "dict": lambda decoder, data: decoder.pairs(data["v"]),
    "bytes": _bytes,
    "bytearray": lambda decoder, data: bytearray(_bytes(decoder, data)),
    "range": lambda decoder, data: range(*_whole_numbers(data, decoder)),
    "slice": lambda decoder, data: slice(*decoder.items(data["v"])),
    "ellipsis": lambda decoder, data: ...,
    "OrderedDict": _ordered_dict,
    "Counter": _counter,
    "defaultdict": _defaultdict,
    "deque": _deque,
    "enum": _enum,
    "dataclass": _dataclass,
}


def _reader(tag: Any) -> Reader:
    if not isinstance(tag, str):
        raise Damaged("a tag that is no text")
    if tag in _BUILTIN:
        return _BUILTIN[tag]
    for module in (scalars, arrays, pandas_decode, polars_frames, images):
        if tag in module.READERS:
            found: Reader = module.READERS[tag]
            return found
    raise Damaged(f"a value of unknown kind {tag[:40]!r}: it may come from a newer version")


def decode(header: Mapping[str, Any], parts: list[memoryview]) -> Any:
    """The value of a safe container.

    Raises:
        Damaged: it holds none; nothing else is raised, whatever the bytes are.
        ImportError: it needs a library that is not installed here; the text names it.
    """
    try:
        return Decoder(parts).decode(header["value"])
    except (Damaged, ImportError, MemoryError):
        raise
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as err:  # compiled libraries have exceptions that derive from nothing else
        raise Damaged(f"the value cannot be read: {type(err).__name__}: {str(err)[:200]}") from None


def loads(data: Buffer) -> Any:
    """The value of the bytes of a safe container.

    Raises:
        Damaged: it holds none, or it holds a pickle.
        ImportError: it needs a library that is not installed here.
    """
    header, parts = unpack(data)
    if header["kind"] != "safe":
        raise Damaged("the value is a pickle")
    return decode(header, parts)
