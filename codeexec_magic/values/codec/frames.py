"""pandas: frames, series, indexes, their arrays and scalars, taken apart into arrays that are safe to send."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from .errors import Damaged, NotCarried
from .scalars import read_zone, zone_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .decode import Decoder, Reader
    from .encode import Encoded, Encoder, Rule

_FREQUENCY: Final = re.compile(r"-?[0-9]{0,9}[A-Za-z]{1,12}(-[A-Za-z0-9]{1,12}){0,2}")
_UNITS: Final = ("s", "ms", "us", "ns")
_CLOSED: Final = ("left", "right", "both", "neither")


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
    if not _FREQUENCY.fullmatch(text):
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
    """An extension array by what it is made of."""
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


# -- back ---------------------------------------------------------------------------------------------------------


def _parts(decoder: Decoder, data: Any) -> dict[str, Any]:
    parts = decoder.decode(data["v"])
    if not isinstance(parts, dict):
        raise Damaged("no pandas array")
    return parts


def _numpy(value: Any, kinds: str = "", size: int | None = None) -> Any:
    import numpy as np

    if type(value) is not np.ndarray or value.ndim != 1 or (kinds and value.dtype.kind not in kinds):
        raise Damaged("no array of the kind that pandas needs here")
    if size is not None and len(value) != size:
        raise Damaged("arrays of different lengths")
    return value


def _read_categorical(decoder: Decoder, data: Any) -> Any:
    import pandas as pd

    parts = _parts(decoder, data)
    if not isinstance(parts["categories"], pd.Index) or type(parts["ordered"]) is not bool:
        raise Damaged("no categories")
    dtype = pd.CategoricalDtype(parts["categories"], parts["ordered"])
    return pd.Categorical.from_codes(_numpy(parts["codes"], "i"), dtype=dtype)


def _read_strings(decoder: Decoder, data: Any) -> Any:
    import pandas as pd

    parts = _parts(decoder, data)
    texts = parts["texts"]
    if not isinstance(texts, list) or not all(text is None or type(text) is str for text in texts):
        raise Damaged("no texts")
    storage = parts["storage"] if parts["storage"] in ("python", "pyarrow") and _has_pyarrow() else "python"
    missing = {"NA": pd.NA, "nan": float("nan")}[parts["missing"]]
    try:
        dtype: Any = pd.StringDtype(storage, na_value=missing)
    except TypeError:  # before pandas 2.3
        dtype = pd.StringDtype(storage)
    return pd.array(texts, dtype=dtype)


def _has_pyarrow() -> bool:
    import importlib.util

    return importlib.util.find_spec("pyarrow") is not None


def _read_masked(decoder: Decoder, data: Any) -> Any:
    import pandas as pd

    kind, kinds = {
        "pd.IntegerArray": (pd.arrays.IntegerArray, "iu"),
        "pd.FloatingArray": (pd.arrays.FloatingArray, "f"),
        "pd.BooleanArray": (pd.arrays.BooleanArray, "b"),
    }[data["$"]]
    parts = _parts(decoder, data)
    numbers = _numpy(parts["data"], kinds)
    return kind(numbers, _numpy(parts["mask"], "b", len(numbers)))


def _read_times(decoder: Decoder, data: Any) -> Any:
    import pandas as pd

    parts = _parts(decoder, data)
    if parts["unit"] not in _UNITS:
        raise Damaged("no unit of time")
    numbers = _numpy(parts["data"], "i")
    freq = _read_frequency(data["freq"])
    if data["$"] == "pd.TimedeltaArray":
        return pd.TimedeltaIndex(numbers.view(f"m8[{parts['unit']}]"), freq=freq).array
    index = pd.DatetimeIndex(numbers.view(f"M8[{parts['unit']}]"))
    zone = read_zone(data["tz"])
    index = index if zone is None else index.tz_localize("UTC").tz_convert(zone)
    if freq is not None:
        index.freq = freq
    return index.array


def _read_frequency(text: Any) -> Any:
    if text is None:
        return None
    if not isinstance(text, str) or not _FREQUENCY.fullmatch(text):
        raise Damaged("no frequency")
    from pandas.tseries.frequencies import to_offset

    return to_offset(text)


def _period_frequency(text: Any) -> str:
    # periods have names of their own for some frequencies
    if not isinstance(text, str) or not _FREQUENCY.fullmatch(text):
        raise Damaged("no frequency")
    return text


def _read_periods(decoder: Decoder, data: Any) -> Any:
    import pandas as pd

    parts = _parts(decoder, data)
    dtype: Any = pd.PeriodDtype(_period_frequency(parts["freq"]))
    return pd.arrays.PeriodArray(_numpy(parts["data"], "i"), dtype=dtype)


def _read_intervals(decoder: Decoder, data: Any) -> Any:
    import pandas as pd

    parts = _parts(decoder, data)
    left, right = parts["left"], parts["right"]
    if parts["closed"] not in _CLOSED or not all(isinstance(end, pd.Index) for end in (left, right)):
        raise Damaged("no intervals")
    return pd.arrays.IntervalArray.from_arrays(left, right, closed=parts["closed"])


def _read_wrapped(decoder: Decoder, data: Any) -> Any:
    import pandas as pd

    return pd.arrays.NumpyExtensionArray(_numpy(_parts(decoder, data)["data"]))


def _names(decoder: Decoder, data: Any, count: int) -> list[Any]:
    names = decoder.items(data["names"])
    if len(names) != count:
        raise Damaged("as many names as levels are needed")
    return names


def _read_index(decoder: Decoder, data: Any) -> Any:
    import numpy as np
    import pandas as pd

    values, (name,) = decoder.decode(data["v"]), _names(decoder, data, 1)
    if not isinstance(values, np.ndarray | pd.api.extensions.ExtensionArray):
        raise Damaged("no index")
    index: Any = pd.Index(values, dtype=values.dtype, name=name)
    if data["freq"] is not None:
        index.freq = _read_frequency(data["freq"])
    return index


def _read_range_index(decoder: Decoder, data: Any) -> Any:
    import pandas as pd

    bounds, (name,) = decoder.items(data["v"]), _names(decoder, data, 1)
    if len(bounds) != 3 or not all(type(bound) is int and abs(bound) < 1 << 62 for bound in bounds):
        raise Damaged("no range")
    return pd.RangeIndex(*bounds, name=name)


def _read_multi_index(decoder: Decoder, data: Any) -> Any:
    import pandas as pd

    levels = decoder.items(data["levels"])
    codes = [_numpy(code, "i") for code in decoder.items(data["codes"])]
    if not levels or not all(isinstance(level, pd.Index) for level in levels):
        raise Damaged("no levels")
    return pd.MultiIndex(levels, codes, names=_names(decoder, data, len(levels)))


def _labels(decoder: Decoder, data: Any, size: int | None = None) -> Any:
    import pandas as pd

    index = decoder.decode(data)
    if not isinstance(index, pd.Index) or (size is not None and len(index) != size):
        raise Damaged("labels that do not fit")
    return index


def _finish(decoder: Decoder, made: Any, data: Any) -> Any:
    attrs = decoder.decode(data["attrs"])
    if not isinstance(attrs, dict):
        raise Damaged("no attributes")
    made.attrs = attrs
    if data["duplicates"] is False:
        made.flags.allows_duplicate_labels = False
    return made


def _column(values: Any, index: Any, name: Any = None) -> Any:
    import numpy as np
    import pandas as pd

    if not isinstance(values, np.ndarray | pd.api.extensions.ExtensionArray) or values.ndim != 1:
        raise Damaged("no column")
    if len(values) != len(index):
        raise Damaged("labels that do not fit")
    # the type is told: pandas would otherwise take objects that are texts for texts
    return pd.Series(values, index=index, name=name, dtype=values.dtype, copy=False)


def _read_series(decoder: Decoder, data: Any) -> Any:
    index = _labels(decoder, data["index"])
    return _finish(decoder, _column(decoder.decode(data["v"]), index, decoder.decode(data["name"])), data)


def _read_frame(decoder: Decoder, data: Any) -> Any:
    import numpy as np
    import pandas as pd

    index = _labels(decoder, data["index"])
    if "block" in data:
        block = decoder.decode(data["block"])
        if type(block) is not np.ndarray or block.ndim != 2 or block.dtype.kind not in "biufc":
            raise Damaged("no block of a frame")
        columns = _labels(decoder, data["columns"], block.shape[1])
        return _finish(decoder, pd.DataFrame(block, index=index, columns=columns, copy=False), data)
    arrays = decoder.items(data["v"])
    columns = _labels(decoder, data["columns"], len(arrays))
    made = pd.DataFrame({i: _column(values, index) for i, values in enumerate(arrays)}, index=index, copy=False)
    made.columns = columns
    return _finish(decoder, made, data)


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise Damaged("no whole number")
    return value


def _read_timestamp(decoder: Decoder, data: Any) -> Any:
    import numpy as np
    import pandas as pd

    if data["unit"] not in _UNITS:
        raise Damaged("no unit of time")
    zone = read_zone(data["tz"])
    moment = pd.Timestamp(np.datetime64(_whole(data["v"]), data["unit"]))
    if zone is not None:
        return moment.tz_localize("UTC").tz_convert(zone)
    return moment.replace(fold=1) if data["fold"] == 1 else moment


def _read_timedelta(decoder: Decoder, data: Any) -> Any:
    import numpy as np
    import pandas as pd

    if data["unit"] not in _UNITS:
        raise Damaged("no unit of time")
    return pd.Timedelta(np.timedelta64(_whole(data["v"]), data["unit"]))


def _read_interval(decoder: Decoder, data: Any) -> Any:
    import pandas as pd

    left, right = decoder.items(data["v"])
    if data["closed"] not in _CLOSED:
        raise Damaged("no interval")
    return pd.Interval(left, right, closed=data["closed"])


def _read_period(decoder: Decoder, data: Any) -> Any:
    import pandas as pd

    return pd.Period(ordinal=_whole(data["v"]), freq=_period_frequency(data["freq"]))


def _read_missing(decoder: Decoder, data: Any) -> Any:
    import pandas as pd

    return {"NaT": pd.NaT, "NA": pd.NA}[data["v"]]


READERS: Final[Mapping[str, Reader]] = {
    "pd.DataFrame": _read_frame,
    "pd.Series": _read_series,
    "pd.Index": _read_index,
    "pd.RangeIndex": _read_range_index,
    "pd.MultiIndex": _read_multi_index,
    "pd.Categorical": _read_categorical,
    "pd.StringArray": _read_strings,
    "pd.IntegerArray": _read_masked,
    "pd.FloatingArray": _read_masked,
    "pd.BooleanArray": _read_masked,
    "pd.DatetimeArray": _read_times,
    "pd.TimedeltaArray": _read_times,
    "pd.PeriodArray": _read_periods,
    "pd.IntervalArray": _read_intervals,
    "pd.NumpyExtensionArray": _read_wrapped,
    "pd.Timestamp": _read_timestamp,
    "pd.Timedelta": _read_timedelta,
    "pd.Interval": _read_interval,
    "pd.Period": _read_period,
    "pd.missing": _read_missing,
}
