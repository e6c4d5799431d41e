"""Encodes pandas frames, series, indexes, their arrays and scalars as arrays that are safe to send."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from .container import MAX_SPELLED_OUT
from .errors import NotCarried
from .scalars import zone_of

if TYPE_CHECKING:
    from .encode import Encoded, Encoder, Rule

#: how pandas writes frequencies; both sides check it, because pandas parses such texts
FREQUENCY: Final = re.compile(r"-?[0-9]{0,9}[A-Za-z]{1,12}(-[A-Za-z0-9]{1,12}){0,2}")


def rule(kind: type) -> Rule | None:
    """How values of exactly this type are encoded."""
    import pandas as pd

    if kind in (type(pd.NaT), type(pd.NA)):
        return lambda encoder, value, path: {"$": "pd.missing", "v": "NaT" if value is pd.NaT else "NA"}
    rules: dict[type, Rule] = {
        pd.DataFrame: _frame,
        pd.Series: _series,
        pd.Timestamp: _timestamp,
        pd.Timedelta: lambda encoder, value, path: {"$": "pd.Timedelta", "v": value._value, "unit": value.unit},
        pd.Interval: _interval,
        pd.Period: lambda encoder, v, path: {"$": "pd.Period", "v": v.ordinal, "freq": _frequency(v.freqstr, path)},
    }
    if kind in rules:
        return rules[kind]
    if issubclass(kind, pd.Index) and kind.__module__.partition(".")[0] == "pandas":
        return _index
    return _array if issubclass(kind, pd.api.extensions.ExtensionArray) else None


def _frequency(text: str, path: str) -> str:
    if not FREQUENCY.fullmatch(text):
        raise NotCarried(f"{path} has the frequency {text}, which no safe format carries")
    return text


def _timestamp(encoder: Encoder, value: Any, path: str) -> Encoded:
    return {
        "$": "pd.Timestamp",
        "v": value._value,
        "unit": value.unit,
        "tz": zone_of(value.tz, path),
        "fold": value.fold,
    }


def _interval(encoder: Encoder, value: Any, path: str) -> Encoded:
    ends = [encoder.encode(value.left, path), encoder.encode(value.right, path)]
    return {"$": "pd.Interval", "v": ends, "closed": value.closed}


def _array(encoder: Encoder, value: Any, path: str) -> Encoded:
    """Encode an extension array as the arrays and settings that it is made of."""
    import pandas as pd

    kind, dtype = type(value).__name__, value.dtype
    if isinstance(value, pd.Categorical):
        parts: dict[str, Any] = {"codes": value.codes, "categories": value.categories, "ordered": bool(value.ordered)}
    elif isinstance(dtype, pd.StringDtype):
        texts = [None if missing else text for text, missing in zip(value, value.isna(), strict=True)]
        parts = {"texts": texts, "missing": "NA" if dtype.na_value is pd.NA else "nan", "storage": dtype.storage}
    elif kind in ("IntegerArray", "FloatingArray", "BooleanArray"):
        parts = {"data": value._data, "mask": value._mask}
    elif kind in ("DatetimeArray", "TimedeltaArray"):
        tz = zone_of(getattr(value, "tz", None), path)
        parts = {"data": value.asi8, "unit": value.unit}
        return {"$": f"pd.{kind}", "tz": tz, "freq": _freq_of(value, path), "v": encoder.encode(parts, path)}
    elif kind == "PeriodArray":
        parts = {"data": value.asi8, "freq": _frequency(value.freqstr, path)}
    elif kind == "IntervalArray":
        parts = {"left": value.left, "right": value.right, "closed": value.closed}
        if isinstance(value.left, pd.RangeIndex) and len(value) > MAX_SPELLED_OUT:
            raise NotCarried(f"{path} has more than {MAX_SPELLED_OUT:,} intervals between ranges")
    elif kind in ("NumpyExtensionArray", "PandasArray"):
        parts, kind = {"data": value.to_numpy()}, "NumpyExtensionArray"
    else:
        raise NotCarried(f"{path} has the pandas type {dtype}, which no safe format carries; convert it first")
    name = "StringArray" if "texts" in parts else kind
    return {"$": f"pd.{name}", "v": encoder.encode(parts, path)}


def _freq_of(value: Any, path: str) -> str | None:
    freq = getattr(value, "freq", None)
    return None if freq is None else _frequency(freq.freqstr, path)


def _index(encoder: Encoder, value: Any, path: str) -> Encoded:
    import pandas as pd

    names = encoder.encode(list(value.names), path)
    if isinstance(value, pd.MultiIndex):
        levels = [_index(encoder, level, path) for level in value.levels]
        codes = [encoder.encode(pd.Series(code).to_numpy(), path) for code in value.codes]
        return {"$": "pd.MultiIndex", "levels": levels, "codes": codes, "names": names}
    if isinstance(value, pd.RangeIndex):
        return {"$": "pd.RangeIndex", "v": [value.start, value.stop, value.step], "names": names}
    return {"$": "pd.Index", "v": _values(encoder, value, path), "freq": _freq_of(value, path), "names": names}


def _values(encoder: Encoder, value: Any, path: str) -> Encoded:
    """The elements of a series or index: a NumPy array where there is one, else an extension array."""
    array = value.array
    if type(array).__name__ in ("NumpyExtensionArray", "PandasArray"):
        return encoder.encode(value.to_numpy(), path)
    return _array(encoder, array, path)


def _about(encoder: Encoder, value: Any, path: str) -> dict[str, Any]:
    return {
        "attrs": encoder.encode(dict(value.attrs), f"{path}.attrs"),
        "duplicates": bool(value.flags.allows_duplicate_labels),
    }


def _series(encoder: Encoder, value: Any, path: str) -> Encoded:
    return {
        "$": "pd.Series",
        "v": _values(encoder, value, path),
        "index": _index(encoder, value.index, f"{path}.index"),
        "name": encoder.encode(value.name, f"{path}.name"),
        **_about(encoder, value, path),
    }


def _frame(encoder: Encoder, value: Any, path: str) -> Encoded:
    import numpy as np

    index = _index(encoder, value.index, f"{path}.index")
    columns = _index(encoder, value.columns, f"{path}.columns")
    about = _about(encoder, value, path)
    kinds = set(value.dtypes)
    if len(kinds) == 1 and isinstance(kind := kinds.pop(), np.dtype) and kind.kind in "biufc":
        block = encoder.encode(value.to_numpy(), path)
        return {"$": "pd.DataFrame", "block": block, "index": index, "columns": columns, **about}
    arrays = []
    for i, label in enumerate(value.columns):
        arrays.append(_values(encoder, value.iloc[:, i], f"{path}[{label!r}]"))
    return {"$": "pd.DataFrame", "v": arrays, "index": index, "columns": columns, **about}
