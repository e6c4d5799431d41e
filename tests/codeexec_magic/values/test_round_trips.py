"""Every value of a safe type comes out of its bytes as it went in, or is refused with a reason."""

from __future__ import annotations

import collections
import datetime as dt
import enum
import math
import zoneinfo
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PureWindowsPath
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import pandas.testing
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from codeexec_magic.values.codec.decode import Record, loads
from codeexec_magic.values.codec.encode import pack
from codeexec_magic.values.codec.errors import NotCarried

SLOW = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])


def again(value: Any) -> Any:
    """What a value is after its way through bytes."""
    return loads(bytearray(pack(value, "v", by_name=True).to_bytes()))


def same(left: Any, right: Any) -> bool:
    """Whether two values are equal and of one type, all the way down; NaN equals NaN, and 0.0 is not -0.0."""
    if type(left) is not type(right):
        return False
    if isinstance(left, float):
        return math.isnan(left) == math.isnan(right) and (math.isnan(left) or repr(left) == repr(right))
    if isinstance(left, complex):
        return same(left.real, right.real) and same(left.imag, right.imag)
    if isinstance(left, Decimal):
        return left.as_tuple() == right.as_tuple()
    if isinstance(left, dict):
        return len(left) == len(right) and all(same(a, b) for a, b in zip(left.items(), right.items(), strict=True))
    if isinstance(left, list | tuple | collections.deque):
        return len(left) == len(right) and all(same(a, b) for a, b in zip(left, right, strict=True))
    if isinstance(left, set | frozenset):
        return sorted(map(repr, left)) == sorted(map(repr, right))
    return bool(left == right)


TEXT = st.text(st.characters(exclude_categories=()))  # lone surrogates, too
ZONES = st.sampled_from([None, dt.UTC, dt.timezone(dt.timedelta(hours=-3), "X"), zoneinfo.ZoneInfo("Europe/Berlin")])
HASHABLE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(1 << 200), 1 << 200),
    st.floats(),
    st.complex_numbers(),
    TEXT,
    st.binary(),
    st.datetimes(timezones=ZONES, allow_imaginary=False),
    st.dates(),
    st.times(),
    st.timedeltas(),
    st.decimals(allow_nan=False),
    st.fractions(),
    st.uuids(),
    st.builds(Path, st.sampled_from(["/", "a/b", "../c", "."])),
    st.builds(range, st.integers(), st.integers()),
)
VALUES = st.recursive(
    HASHABLE | st.binary(min_size=500, max_size=600).map(bytearray) | st.just(Decimal("sNaN")),
    lambda inner: st.one_of(
        st.lists(inner),
        st.lists(st.integers(-(1 << 64), 1 << 64), min_size=60, max_size=70),
        st.lists(st.floats(), min_size=60, max_size=70),
        st.tuples(inner, inner),
        st.dictionaries(HASHABLE, inner),
        st.dictionaries(st.sampled_from(["$", "a", "v"]), inner),
        st.sets(HASHABLE),
        st.frozensets(HASHABLE),
        st.lists(inner).map(lambda items: collections.deque(items, 10)),
        st.dictionaries(TEXT, inner).map(collections.OrderedDict),
    ),
    max_leaves=20,
)


@SLOW
@given(VALUES)
def test_python_values(value: Any) -> None:
    """Anything made of the safe types of the standard library."""
    assert same(again(value), value)


DTYPES = st.sampled_from(
    [
        *("bool", "int8", "uint16", "int32", "int64", "uint64", "float16", "float32", "float64", "complex64"),
        *("complex128", ">i4", ">f8", "M8[ns]", "M8[D]", "m8[s]", "U5", "S3"),
    ]
)
SHAPES = st.lists(st.integers(0, 4), max_size=3).map(tuple)


@SLOW
@given(DTYPES, SHAPES, st.integers(0, 1 << 32), st.sampled_from(["C", "F", "strided", "reversed"]))
def test_arrays(dtype: str, shape: tuple[int, ...], seed: int, layout: str) -> None:
    """Type, shape, layout and every element, also of views and byte-swapped arrays; the array can be written to."""
    raw = np.random.default_rng(seed).integers(0, 100, shape)
    array = np.asarray(raw.astype(np.int64).astype(dtype) if dtype[0] != ">" else raw.astype(dtype))
    if layout == "F":
        array = np.asfortranarray(array)
    elif array.ndim:
        array = array[::2] if layout == "strided" else array[::-1] if layout == "reversed" else array
    back = again(array)
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    assert back.tobytes() == array.tobytes()
    assert back.flags.writeable


def test_structured_and_object_arrays() -> None:
    """Records of plain fields, and objects whose elements are safe."""
    records = np.array([(1, 2.5, "a")], dtype=[("a", "<i4"), ("b", "<f8"), ("c", "U3")])
    assert (again(records) == records).all()
    objects = np.array([["a", None], [1, {"x": (1, 2)}]], dtype=object)
    assert again(objects).tolist() == objects.tolist()
    for refused in (np.array([object()]), np.zeros(2, [("a", "O")]), np.zeros(3, "V7")):
        with pytest.raises(NotCarried, match=r"^v"):
            pack(refused, "v")


@pytest.mark.parametrize(
    "value",
    [
        np.float64("nan"),
        np.int8(-3),
        np.bool_(True),
        np.str_("é"),
        np.bytes_(b"x"),
        np.datetime64("NaT"),
        np.complex64(1j),
    ],
)
def test_numpy_scalars(value: Any) -> None:
    """NumPy's own scalars stay what they are."""
    back = again(value)
    assert type(back) is type(value)
    assert back.tobytes() == value.tobytes()


COLUMNS = st.sampled_from(
    [
        lambda n: np.arange(n),
        lambda n: np.linspace(0, 1, n).astype("float32"),
        lambda n: pd.array([None, *range(n)][:n], dtype="Int64"),
        lambda n: pd.array([None, True, False, True, None][:n], dtype="boolean"),
        lambda n: pd.array([None, 1.5, 2, 3, 4][:n], dtype="Float32"),
        lambda n: pd.Categorical(list("abacx")[:n], categories=list("xcba"), ordered=True),
        lambda n: pd.date_range("2026-03-29", periods=n, freq="h", tz="Europe/Berlin"),
        lambda n: pd.date_range("2026", periods=n, unit="s"),
        lambda n: pd.timedelta_range("1s", periods=n),
        lambda n: pd.period_range("2026", periods=n, freq="M"),
        lambda n: pd.interval_range(0, n),
        lambda n: pd.IntervalIndex.from_arrays(pd.RangeIndex(n), pd.RangeIndex(1, n + 1)),
        lambda n: pd.Series(["a", None, "\ud800x", "", "b"][:n], dtype=object),
        lambda n: pd.array(["a", None, "é", "", "b"][:n], dtype="string"),
        lambda n: pd.Series(["a", None, "é", "", "b"][:n], dtype="str"),
        lambda n: pd.Series([[1], {"k": (1, 2)}, None, 1.5, "x"][:n], dtype=object),
        lambda n: np.array([True, False, True, False, True][:n]),
    ]
)
LABELS = st.lists(st.sampled_from(["a", "b", "a", 1, 2.5, None, ("x", 1), pd.Timestamp("2026")]), max_size=5)
INDEXES = st.sampled_from(
    [
        lambda n: pd.RangeIndex(3, 3 + 2 * n, 2, name="r"),
        lambda n: pd.Index([5, 5, 3, 1, 0][:n], name=("n", 1)),
        lambda n: pd.date_range("2026", periods=n, freq="D", name="when"),
        lambda n: pd.MultiIndex.from_arrays([list("aabbc")[:n], range(n)], names=["k", None]),
        lambda n: pd.CategoricalIndex(list("xyxyx")[:n]),
        lambda n: pd.Index(["q", 1, None, 2.5, "z"][:n], dtype=object),
    ]
)


@SLOW
@given(st.integers(0, 5), st.lists(COLUMNS, max_size=5), LABELS, INDEXES)
def test_pandas_frames(rows: int, columns: list[Any], labels: list[Any], index: Any) -> None:
    """Frames with every kind of column, duplicate and non-text labels, and every kind of index."""
    frame = pd.DataFrame({i: pd.Series(make(rows)).array for i, make in enumerate(columns)}, index=index(rows))
    frame.columns = pd.Index([*labels, *range(5)][: len(columns)], dtype=object)
    frame.attrs = {"unit": "m"}
    back = again(frame)
    pandas.testing.assert_frame_equal(back, frame, check_freq=True, check_flags=True)
    pandas.testing.assert_index_equal(back.columns, frame.columns, exact=True)
    assert list(back.dtypes) == list(frame.dtypes)
    assert back.attrs == frame.attrs


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame(),
        pd.DataFrame(index=range(3)),
        pd.DataFrame(columns=["a", "a"]),
        pd.DataFrame(np.arange(6.0).reshape(2, 3), columns=pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1)])),
        pd.DataFrame({"a": [1]}).set_flags(allows_duplicate_labels=False),
        pd.DataFrame(np.ones((2, 500), "f4")),
    ],
)
def test_unusual_frames(frame: pd.DataFrame) -> None:
    """Empty frames, frames without columns or rows, columns of several levels, flags."""
    pandas.testing.assert_frame_equal(again(frame), frame, check_flags=True, check_column_type=True)


@SLOW
@given(st.integers(0, 5), COLUMNS, INDEXES, st.sampled_from([None, "s", 3, ("a", 1)]))
def test_pandas_series_and_indexes(rows: int, column: Any, index: Any, name: Any) -> None:
    """Series with every kind of element, and their indexes by themselves."""
    series = pd.Series(pd.Series(column(rows)).array, index=index(rows), name=name)
    pandas.testing.assert_series_equal(again(series), series, check_freq=True)
    assert again(series).name == name
    pandas.testing.assert_index_equal(again(series.index), series.index, exact=True)


def test_pandas_scalars() -> None:
    """Moments, spans, periods, intervals and missing values."""
    berlin = pd.Timestamp("2026-10-25 00:30", tz="UTC").tz_convert("Europe/Berlin")
    for value in (berlin, pd.Timestamp(1, unit="s"), pd.Timedelta("1ns"), pd.Period("2026-01", "M"), pd.Interval(0, 1)):
        back = again(value)
        assert type(back) is type(value)
        assert back == value
    assert again(pd.NaT) is pd.NaT
    assert again(pd.NA) is pd.NA


def test_polars_frames() -> None:
    """Columns of every kind with a plain form, with and without missing values."""
    moment = dt.datetime(2026, 3, 29, 1, tzinfo=dt.UTC)
    frame = pl.DataFrame(
        {
            "int": pl.Series([1, None], dtype=pl.Int8),
            "float": [1.5, None],
            "bool": [True, None],
            "text": ["é", None],
            "bytes": [b"\0", None],
            "date": [dt.date(2026, 1, 1), None],
            "time": [dt.time(1, 2, 3), None],
            "span": [dt.timedelta(microseconds=1), None],
            "zoned": pl.Series([moment, None], dtype=pl.Datetime("ms", "Europe/Berlin")),
            "kind": pl.Series(["x", None], dtype=pl.Categorical),
            "enum": pl.Series(["x", None], dtype=pl.Enum(["y", "x"])),
            "none": pl.Series([None, None], dtype=pl.Null),
            "full": [1, 2],
        }
    )
    for value in (frame, frame.head(0), pl.DataFrame()):
        back = again(value)
        assert back.schema == value.schema
        assert back.equals(value)
    assert again(frame["zoned"]).equals(frame["zoned"])
    with pytest.raises(NotCarried, match=r"polars type List"):
        pack(pl.Series([[1]]), "v")


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I", "F", "I;16"])
@pytest.mark.parametrize("size", [(0, 0), (1, 1), (13, 7)])
def test_images(mode: str, size: tuple[int, int]) -> None:
    """Pixels of every mode."""
    image = Image.new(mode, size)
    image.info = {"dpi": (72, 72)}
    back = again(image)
    assert (back.mode, back.size, back.info, back.tobytes()) == (image.mode, image.size, image.info, image.tobytes())


class Colour(enum.Enum):
    """An enum that is loaded here."""

    RED = "r"


class Weekday(enum.IntEnum):
    """An enum whose members are numbers."""

    MONDAY = 1


@dataclass
class Point:
    """A class of the user's."""

    x: int
    y: Any


def test_enum_members_and_dataclasses() -> None:
    """Members of loaded enums come back as themselves; a dataclass comes as a dictionary with its name."""
    assert again(Colour.RED) is Colour.RED
    assert again([Weekday.MONDAY]) == [Weekday.MONDAY]
    back = again(Point(1, [Colour.RED]))
    assert type(back) is Record
    assert (back, back.type_name) == ({"x": 1, "y": [Colour.RED]}, "Point")


def test_other_standard_types() -> None:
    """What hypothesis has no strategy for."""
    factory = collections.defaultdict(list, a=[1])
    back = again(factory)
    assert same(back, factory)
    assert back.default_factory is list
    for value in (
        collections.Counter("aab"),
        slice(1, None, 2),
        ...,
        PureWindowsPath("c:/x"),
        dt.UTC,
        UUID(int=5),
        Fraction(1, 3),
    ):
        assert same(again(value), value)


class Listed(list[int]):
    """A subclass may mean something else."""


def circle() -> list[Any]:
    """A list within itself."""
    items: list[Any] = []
    items.append(items)
    return items


def deep() -> Any:
    """Lists in lists in lists."""
    value: Any = 1
    for _ in range(5000):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (object(), "v is a object, which no safe format carries"),
        ({"a": [1, object()]}, r"v\['a'\]\[1\] is a object"),
        (Listed([1]), "v is a Listed"),
        (circle(), r"v\[0\] contains itself"),
        (deep(), "nested more than"),
        (print, "v is a builtin_function_or_method"),
        (pd.Series([object()]), r"v\[0\] is a object"),
        (pd.arrays.SparseArray([0, 1]), "Sparse"),
        (["x" * 1000] * 100_000, "more than 48 MB of small objects"),
    ],
)
def test_what_no_safe_format_carries(value: Any, reason: str) -> None:
    """Refused with a reason of one line that names the part; nothing is cut or changed."""
    with pytest.raises(NotCarried, match=reason) as caught:
        pack(value, "v")
    assert "\n" not in str(caught.value)
