"""Dates, exact numbers, identifiers and paths of the standard library."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from .errors import Damaged, NotCarried

if TYPE_CHECKING:
    from .decode import Decoder, Reader
    from .encode import Encoded, Encoder, Rule

#: numbers of a fraction with more bits take too long to reduce
_FRACTION_BITS: Final = 1 << 16
_ZONE: Final = re.compile(r"[A-Za-z0-9_+\-]{1,40}(/[A-Za-z0-9_+\-]{1,40}){0,3}")


def zone_of(tz: Any, path: str) -> Encoded:
    """A time zone: its key in the tz database, or its offset."""
    import datetime

    if tz is None:
        return None
    if type(tz) is datetime.timezone:
        offset, name = tz.utcoffset(None), tz.tzname(None)
        plain = datetime.timezone(offset).tzname(None)
        return {"us": offset // datetime.timedelta(microseconds=1), "name": None if name == plain else name}
    key = getattr(tz, "key", None)
    if type(tz).__module__.startswith("zoneinfo") and isinstance(key, str) and _ZONE.fullmatch(key):
        return {"key": key}
    raise NotCarried(f"{path} has a time zone of {type(tz).__module__}.{type(tz).__name__}; use zoneinfo")


def read_zone(data: Any) -> Any:
    """The time zone that :func:`zone_of` described."""
    import datetime

    if data is None:
        return None
    if not isinstance(data, dict):
        raise Damaged("no time zone")
    if "key" in data:
        import zoneinfo

        if not isinstance(data["key"], str) or not _ZONE.fullmatch(data["key"]):
            raise Damaged("no time zone")
        return zoneinfo.ZoneInfo(data["key"])
    offset = datetime.timedelta(microseconds=data["us"])
    return datetime.timezone(offset) if data["name"] is None else datetime.timezone(offset, data["name"])


def _datetime(encoder: Encoder, value: Any, path: str) -> Encoded:
    parts = [value.year, value.month, value.day, value.hour, value.minute, value.second, value.microsecond, value.fold]
    return {"$": "datetime", "v": parts, "tz": zone_of(value.tzinfo, path)}


def _date(encoder: Encoder, value: Any, path: str) -> Encoded:
    return {"$": "date", "v": [value.year, value.month, value.day]}


def _time(encoder: Encoder, value: Any, path: str) -> Encoded:
    parts = [value.hour, value.minute, value.second, value.microsecond, value.fold]
    return {"$": "time", "v": parts, "tz": zone_of(value.tzinfo, path)}


def _timedelta(encoder: Encoder, value: Any, path: str) -> Encoded:
    return {"$": "timedelta", "v": [value.days, value.seconds, value.microseconds]}


def _timezone(encoder: Encoder, value: Any, path: str) -> Encoded:
    return {"$": "timezone", "v": zone_of(value, path)}


def _decimal(encoder: Encoder, value: Any, path: str) -> Encoded:
    return {"$": "Decimal", "v": str(value)}


def _fraction(encoder: Encoder, value: Any, path: str) -> Encoded:
    numbers = (value.numerator, value.denominator)
    if any(number.bit_length() > _FRACTION_BITS for number in numbers):
        raise NotCarried(f"{path} is a fraction of numbers with more than {_FRACTION_BITS:,} bits")
    return {"$": "Fraction", "v": [hex(number) for number in numbers]}


def _uuid(encoder: Encoder, value: Any, path: str) -> Encoded:
    return {"$": "UUID", "v": value.hex}


def _path(encoder: Encoder, value: Any, path: str) -> Encoded:
    return {"$": "path", "type": type(value).__name__, "v": encoder.encode(str(value), path)}


RULES: Final[Mapping[str, Rule]] = {
    "datetime": _datetime,
    "date": _date,
    "time": _time,
    "timedelta": _timedelta,
    "timezone": _timezone,
    "ZoneInfo": _timezone,
    "Decimal": _decimal,
    "Fraction": _fraction,
    "UUID": _uuid,
    "PosixPath": _path,
    "PurePosixPath": _path,
    "PureWindowsPath": _path,
}


def _read_datetime(decoder: Decoder, data: Any) -> Any:
    import datetime

    year, month, day, hour, minute, second, micro, fold = data["v"]
    return datetime.datetime(year, month, day, hour, minute, second, micro, read_zone(data["tz"]), fold=fold)


def _read_date(decoder: Decoder, data: Any) -> Any:
    import datetime

    return datetime.date(*data["v"])


def _read_time(decoder: Decoder, data: Any) -> Any:
    import datetime

    hour, minute, second, micro, fold = data["v"]
    return datetime.time(hour, minute, second, micro, read_zone(data["tz"]), fold=fold)


def _read_timedelta(decoder: Decoder, data: Any) -> Any:
    import datetime

    days, seconds, microseconds = data["v"]
    return datetime.timedelta(days, seconds, microseconds)


def _read_decimal(decoder: Decoder, data: Any) -> Any:
    import decimal

    if not isinstance(data["v"], str):
        raise Damaged("no decimal number")
    return decimal.Decimal(data["v"])


def _read_fraction(decoder: Decoder, data: Any) -> Any:
    import fractions

    if any(len(text) > _FRACTION_BITS // 4 + 3 for text in data["v"]):
        raise Damaged("no fraction")
    return fractions.Fraction(*(int(text, 16) for text in data["v"]))


def _read_uuid(decoder: Decoder, data: Any) -> Any:
    import uuid

    return uuid.UUID(hex=data["v"])


def _read_path(decoder: Decoder, data: Any) -> Any:
    import pathlib

    kinds = {
        "PosixPath": pathlib.Path,
        "PurePosixPath": pathlib.PurePosixPath,
        "PureWindowsPath": pathlib.PureWindowsPath,
    }
    if not isinstance(data["v"], str):
        raise Damaged("no path")
    return kinds[data["type"]](data["v"])


READERS: Final[Mapping[str, Reader]] = {
    "datetime": _read_datetime,
    "date": _read_date,
    "time": _read_time,
    "timedelta": _read_timedelta,
    "timezone": lambda decoder, data: read_zone(data["v"]),
    "Decimal": _read_decimal,
    "Fraction": _read_fraction,
    "UUID": _read_uuid,
    "path": _read_path,
}
