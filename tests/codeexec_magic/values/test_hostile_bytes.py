"""Bytes that a cell made up: the decoder makes data of them or refuses; it runs, imports and exhausts nothing."""

from __future__ import annotations

import json
import os
import pickle
import random
import struct
import sys
import time
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from codeexec_magic.errors import ValueLost
from codeexec_magic.values.codec import container
from codeexec_magic.values.codec.decode import EnumMember, loads
from codeexec_magic.values.codec.encode import pack
from codeexec_magic.values.codec.errors import Damaged
from codeexec_magic.values.received import receive
from codeexec_magic.values.ref import ValueRef

#: inputs of the long run
FUZZED = int(os.environ.get("CODEEXEC_FUZZ_VALUES", "100000"))


def forged(value: Any, parts: list[bytes] | None = None, **header: Any) -> bytes:
    """A container with this in its header, whatever it is."""
    sizes = [len(part) for part in parts or []]
    text = json.dumps({"kind": "safe", "type": "int", "value": value, "parts": sizes, **header}).encode()
    head = container.MAGIC + struct.pack("<Q", len(text)) + text
    return b"".join(data + container.padding(len(data)) for data in (head, *(parts or [])))


def refused(data: bytes) -> str:
    """Why these bytes are no value."""
    with pytest.raises(Damaged) as caught:
        loads(bytearray(data))
    return str(caught.value)


class Bomb:
    """Unpickling it would be seen."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("/tmp/codeexec-unpickled"),)


LOTS = 1 << 40
INDEX = {"$": "pd.RangeIndex", "v": [0, 2, 1], "names": [None]}
FRAME = {"$": "pd.DataFrame", "index": INDEX, "columns": INDEX, "attrs": {}, "duplicates": True}


@pytest.mark.parametrize(
    "value",
    [
        {"$": "ndarray", "dtype": "|O", "shape": [1], "order": "C", "part": 0},
        {"$": "ndarray", "dtype": "<f8", "shape": [LOTS], "order": "C", "part": 0},
        {"$": "ndarray", "dtype": "<f8", "shape": [-1], "order": "C", "part": 0},
        {"$": "ndarray", "dtype": "<f8", "shape": [True], "order": "C", "part": 0},
        {"$": "ndarray", "dtype": "<f8", "shape": [0, LOTS, LOTS], "order": "C", "part": 0},
        {"$": "ndarray", "dtype": "|b1", "shape": [8], "order": "C", "part": 0},
        {"$": "ndarray", "dtype": [["a", "|O"]], "shape": [1], "order": "C", "part": 0},
        {"$": "ndarray", "dtype": "<f8", "shape": [1], "order": "C", "part": 7},
        {"$": "ndarray", "dtype": "<f8", "shape": [1], "order": "C", "part": -1},
        {"$": "ndarray", "dtype": "U99999999", "shape": [1], "order": "C", "part": 0},
        {"$": "objects", "shape": [LOTS], "v": []},
        {"$": "numpy", "dtype": "<f8", "v": "AA=="},
        {"$": "numbers", "dtype": "O", "part": 0},
        {"$": "image", "mode": "RGB", "size": [30000, 30000], "palette": None, "info": {}, "part": 0},
        {"$": "image", "mode": "P", "size": [8, 1], "palette": ["RGB", 5], "info": {}, "part": 0},
        {"$": "pd.Categorical", "v": {"codes": [1, 2], "categories": 5, "ordered": True}},
        {"$": "pd.MultiIndex", "levels": [], "codes": [], "names": []},
        {
            "$": "pd.IntervalArray",
            "v": {"left": {**INDEX, "v": [0, LOTS, 1]}, "right": {**INDEX, "v": [0, LOTS, 1]}, "closed": "left"},
        },
        [{"$": "bytes", "part": 0}] * 2,
        [{"$": "numbers", "dtype": "q", "part": 0}] * 2,
        {"$": "pd.RangeIndex", "v": [0, LOTS * LOTS, 1], "names": [None]},
        {"$": "pd.Index", "v": {"$": "pd.Index"}, "freq": "exec('x')", "names": [None]},
        {"$": "pd.Period", "v": 1, "freq": "__import__('os')"},
        {"$": "pd.Timestamp", "v": 1 << 70, "unit": "s", "tz": None, "fold": 0},
        {"$": "pd.Timestamp", "v": 1, "unit": "s", "tz": {"key": "../../etc/passwd"}, "fold": 0},
        {**FRAME, "v": [[1, 2], [3, 4]]},
        {**FRAME, "block": "x"},
        {"$": "pl.DataFrame", "v": [1]},
        {"$": "pl.Series", "name": "x", "kind": "__class__", "missing": None, "v": []},
        {"$": "dict", "v": [1, 2, 3]},
        {"$": "dict", "v": [[1], 2]},
        {"$": "set", "v": [[1]]},
        {"$": "set", "v": [{"$": "int", "v": hex(i * sys.hash_info.modulus)} for i in range(1000)]},
        {"$": "int", "v": "9" * 100},
        {"$": "Fraction", "v": ["0x1", "0x0"]},
        {"$": "Fraction", "v": ["0x" + "f" * 1_000_000, "0x3"]},
        {"$": "Decimal", "v": "__import__('os')"},
        {"$": "path", "type": "os.system", "v": "x"},
        {"$": "defaultdict", "factory": "eval", "v": []},
        {"$": "deque", "maxlen": "x", "v": []},
        {"$": "datetime", "v": [99999, 1, 1, 0, 0, 0, 0, 0], "tz": None},
        {"$": "enum", "type": 5, "v": "x"},
        {"$": "__import__", "v": "os"},
        {"$": ["a"], "v": "os"},
        {"$": "tuple"},
    ],
)
def test_forged_values_are_refused(value: Any) -> None:
    """One line says why; no other exception comes out."""
    assert "\n" not in refused(forged(value, [bytes([2] * 8)]))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"CXVALUE1",
        b"\x93NUMPY\x01\x00" + bytes(200),
        b"ARROW1\0\0" + bytes(200),
        pickle.dumps(Bomb()),
        zlib.compress(bytes(10_000_000)),
        container.MAGIC + struct.pack("<Q", 1 << 63) + bytes(100),
        container.MAGIC + struct.pack("<Q", 4) + b"null" + bytes(44),
        forged(1, kind="pickle"),
        forged(1, kind="other"),
        forged(1, parts=[])[:-1],
        forged(1) + bytes(64),
        forged(1, type=5),
        forged(1, parts=[b"x"])[:-64],
    ],
)
def test_other_formats_and_cut_containers_are_refused(data: bytes) -> None:
    """NumPy's and Arrow's files, pickles, compressed bytes, lengths that are not true."""
    refused(data)


def test_part_lengths_that_are_not_true() -> None:
    """Lengths may be no numbers, negative, or beyond the bytes."""
    for sizes in ([-1], [1 << 62], ["1"], [True], None, {}, [0] * 200_000):
        text = json.dumps({"kind": "safe", "type": "", "value": 1, "parts": sizes}).encode()
        data = container.MAGIC + struct.pack("<Q", len(text)) + text
        refused(data + container.padding(len(data)))


def test_deep_nesting_is_refused_quickly() -> None:
    """Brackets without end are counted, not followed."""
    start = time.process_time()
    for text in (b"[" * 5_000_000, b"[" * 5_000_000 + b"]" * 5_000_000, b'{"a":' * 1_000_000):
        data = container.MAGIC + struct.pack("<Q", len(text)) + text
        assert "deep" in refused(data + container.padding(len(data)))
    assert time.process_time() - start < 20


def test_nothing_of_a_pickle_runs() -> None:
    """A pickle that claims to be safe, in the record or in its own header, stays closed."""
    mark = Path("/tmp/codeexec-unpickled")
    mark.unlink(missing_ok=True)
    data = forged(None, [pickle.dumps(Bomb())], kind="pickle")
    with pytest.raises(ValueLost, match="x did not come back"):
        receive("x", ValueRef.inline(data, "safe", "int"), lambda: pytest.fail("no store is needed"))
    assert not mark.exists()


def test_no_module_is_imported_by_name() -> None:
    """An enum member of a class that is not loaded is a text, and its module stays unloaded."""
    sys.modules.pop("antigravity", None)
    value = loads(bytearray(forged({"$": "enum", "type": ["antigravity", "Colour"], "v": "RED"})))
    assert type(value) is EnumMember
    assert (value, value.type_name) == ("RED", "Colour")
    assert "antigravity" not in sys.modules
    for module, name in (("os", "system"), ("enum", "Enum"), ("builtins", "eval"), ("sys", "modules")):
        assert type(loads(bytearray(forged({"$": "enum", "type": [module, name], "v": "x"})))) is EnumMember


def test_memory_is_bounded_by_the_bytes() -> None:
    """A value never takes many times the memory of its bytes."""
    data = forged([[]] * 300_000)
    tracemalloc.start()
    try:
        loads(bytearray(data))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100 * len(data)


SAMPLES: tuple[Callable[[], Any], ...] = (
    lambda: {"a": [1, 2.5, None, "x"], "b": (1, {2, 3})},
    lambda: np.arange(20.0).reshape(4, 5),
    lambda: np.array(["a", None], dtype=object),
    lambda: pd.DataFrame({"a": [1, 2], "b": ["x", None], "c": pd.Categorical(["p", "q"])}),
    lambda: pd.Series([1, 2], index=pd.MultiIndex.from_product([["a"], [1, 2]])),
    lambda: pd.DataFrame({"t": pd.date_range("2026", periods=3, tz="Europe/Berlin")}),
    lambda: pd.DataFrame({"i": pd.array([1, None], dtype="Int64"), "p": pd.period_range("2026", periods=2, freq="M")}),
)


def mutated(random_: random.Random, whole: bytes) -> bytes:
    """The bytes of a value with a few changes, mostly in the header, where they do most."""
    data = bytearray(whole)
    for _ in range(random_.randint(1, 6)):
        if len(data) < 2:
            break
        kind, at = random_.randrange(5), random_.randrange(len(data))
        if random_.random() < 0.7:
            at = random_.randrange(min(16, len(data) - 1), min(len(data), 600))
        if kind == 0:
            data[at] = random_.randrange(256)
        elif kind == 1:
            data[at] = random_.choice(b'0123456789[]{}",:-$tfnu')
        elif kind == 2:
            data[at : at + random_.randint(1, 8)] = b""
        elif kind == 3:
            data[at:at] = random_.choice([b"null", b"-1", b"1e999", b'"$"', b"[]", b"{}", b"9" * 30, b"pd.Series"])
        else:
            data = data[:at] or data
    if random_.random() < 0.5 and len(data) > 16:
        # the length fits again, so that the change is met further on
        end = bytes(data).rfind(b"}") + 1
        data[8:16] = struct.pack("<Q", max(0, end - 16))
    return bytes(data)


def fuzz(count: int, seed: int) -> int:
    """Decode so many changed values; how many were still values."""
    random_ = random.Random(seed)
    wholes = [pack(make(), "v").to_bytes() for make in SAMPLES]
    read = 0
    for _ in range(count):
        try:
            loads(bytearray(mutated(random_, random_.choice(wholes))))
            read += 1
        except Damaged:
            pass
    return read


@pytest.mark.filterwarnings("ignore")
def test_changed_values() -> None:
    """Whatever is changed in a value's bytes, it is a value or damaged."""
    fuzz(2000, 1)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.filterwarnings("ignore")
def test_changed_values_for_long() -> None:
    """The same, very often."""
    assert fuzz(FUZZED, 2) < FUZZED
