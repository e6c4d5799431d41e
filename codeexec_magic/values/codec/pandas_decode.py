"""Decodes pandas frames, series, indexes, their arrays and scalars, and checks every part before pandas sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from .errors import Damaged
from .pandas_encode import FREQUENCY
from .scalars import read_zone

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .decode import Decoder, Reader

_UNITS: Final = ("s", "ms", "us", "ns")
_CLOSED: Final = ("left", "right", "both", "neither")


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
    if not isinstance(text, str) or not FREQUENCY.fullmatch(text):
        raise Damaged("no frequency")
    from pandas.tseries.frequencies import to_offset

    return to_offset(text)


def _period_frequency(text: Any) -> str:
    # periods have names of their own for some frequencies
    if not isinstance(text, str) or not FREQUENCY.fullmatch(text):
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
    for end in (left, right):
        if isinstance(end, pd.RangeIndex):
            decoder.spell_out(len(end))  # pandas makes arrays of them
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
