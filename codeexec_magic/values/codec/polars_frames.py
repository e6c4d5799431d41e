"""polars: frames and series, taken apart into arrays that are safe to send."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from .errors import Damaged, NotCarried

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .decode import Decoder, Reader
    from .encode import Encoded, Encoder, Rule

_NUMBERS: Final = (
    *("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64"),
    *("Float32", "Float64", "Boolean"),
)
_TEXTS: Final = ("String", "Utf8")
_UNITS: Final = ("ms", "us", "ns")


def rule(kind: type) -> Rule | None:
    """How values of exactly this type are encoded."""
    import polars as pl

    return {pl.DataFrame: _frame, pl.Series: _series}.get(kind)


def _frame(encoder: Encoder, value: Any, path: str) -> Encoded:
    columns = [_series(encoder, column, f"{path}[{column.name!r}]") for column in value.get_columns()]
    return {"$": "pl.DataFrame", "v": columns, "height": value.height}


def _series(encoder: Encoder, value: Any, path: str) -> Encoded:
    kind = type(value.dtype).__name__ if not isinstance(value.dtype, type) else value.dtype.__name__
    missing = value.is_null().to_numpy() if value.null_count() else None
    about: dict[str, Any] = {
        "$": "pl.Series",
        "name": value.name,
        "kind": kind,
        "missing": encoder.encode(missing, path),
    }
    if kind in _NUMBERS:
        filled = value if missing is None else value.fill_null(False if kind == "Boolean" else 0)
        return {**about, "v": encoder.encode(filled.to_numpy(), path)}
    if kind in ("Date", "Datetime", "Duration", "Time"):
        about |= {"unit": getattr(value.dtype, "time_unit", None), "zone": getattr(value.dtype, "time_zone", None)}
        return {**about, "v": encoder.encode(value.to_physical().fill_null(0).to_numpy(), path)}
    if kind in (*_TEXTS, "Binary", "Null"):
        return {**about, "v": encoder.encode(value.to_list(), path)}
    if kind == "Categorical":
        return {**about, "v": encoder.encode(value.cast(_string()).to_list(), path)}
    if kind == "Enum":
        about["categories"] = encoder.encode(value.dtype.categories.to_list(), path)
        return {**about, "v": encoder.encode(value.cast(_string()).to_list(), path)}
    raise NotCarried(f"{path} has the polars type {value.dtype}, which no safe format carries; convert it first")


def _string() -> Any:
    import polars as pl

    return pl.String


def _read_frame(decoder: Decoder, data: Any) -> Any:
    import polars as pl

    columns = decoder.items(data["v"])
    if not all(isinstance(column, pl.Series) for column in columns):
        raise Damaged("no columns")
    return pl.DataFrame(columns)


def _read_series(decoder: Decoder, data: Any) -> Any:
    import numpy as np
    import polars as pl

    name, kind, values = data["name"], data["kind"], decoder.decode(data["v"])
    missing = decoder.decode(data["missing"])
    if not isinstance(name, str) or not isinstance(kind, str):
        raise Damaged("no series")
    if isinstance(values, list):
        return _from_list(decoder, data, name, kind, values)
    if type(values) is not np.ndarray or values.ndim != 1 or values.dtype.kind not in "biuf":
        raise Damaged("no series")
    series = pl.Series(name, values)
    if kind in _NUMBERS:
        series = series.cast(getattr(pl, kind))
    elif kind in ("Date", "Time"):
        series = series.cast({"Date": pl.Int32, "Time": pl.Int64}[kind]).cast(getattr(pl, kind))
    elif kind in ("Datetime", "Duration") and data["unit"] in _UNITS:
        zone = data["zone"]
        if zone is not None and (not isinstance(zone, str) or len(zone) > 64):
            raise Damaged("no time zone")
        dtype = pl.Datetime(data["unit"], zone) if kind == "Datetime" else pl.Duration(data["unit"])
        series = series.cast(pl.Int64).cast(dtype)
    else:
        raise Damaged("no series")
    if missing is None:
        return series
    if type(missing) is not np.ndarray or missing.dtype != bool or len(missing) != len(series):
        raise Damaged("no series")
    return series.set(pl.Series(missing), None)


def _from_list(decoder: Decoder, data: Any, name: str, kind: str, values: list[Any]) -> Any:
    import polars as pl

    wanted = {"Binary": bytes, "Null": type(None)}.get(kind, str)
    if not all(value is None or type(value) is wanted for value in values):
        raise Damaged("no series")
    if kind == "Enum":
        categories = decoder.decode(data["categories"])
        if not isinstance(categories, list) or not all(type(one) is str for one in categories):
            raise Damaged("no categories")
        return pl.Series(name, values, dtype=pl.Enum(categories))
    kinds: dict[str, Any] = {"Binary": pl.Binary, "Null": pl.Null, "Categorical": pl.Categorical}
    dtype = kinds.get(kind) or (pl.String if kind in _TEXTS else None)
    if dtype is None:
        raise Damaged("no series")
    return pl.Series(name, values, dtype=dtype)


READERS: Final[Mapping[str, Reader]] = {"pl.DataFrame": _read_frame, "pl.Series": _read_series}
