"""One environment variable as a dataclass field declares it: its name, unit and meaning, and how its text is read.

The fields of ``codeexec_magic.settings`` are the only declaration of our settings: reading them, ``codeexec doctor``
and the reference in the documentation all go through them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Final

from codeexec_magic.broker_url import BrokerURL
from codeexec_magic.errors import BadSetting, DecodeError

_KEY: Final = "variable"


@dataclass(frozen=True)
class Variable:
    """An environment variable that a field is read from."""

    name: str
    convert: Callable[[str], Any]  #: raises ValueError with what the text must be
    help: str
    unit: str = ""  #: s, MB or KB; empty where there is none
    default: str = ""  #: shown where the field's own default says too little
    secret: bool = False  #: whether its text is kept out of everything that is shown


def setting(variable: Variable, default: Any = MISSING, factory: Any = MISSING) -> Any:
    """A dataclass field that is read from an environment variable.

    Args:
        variable: the variable.
        default: of the field.
        factory: makes the default, instead.
    """
    metadata = {_KEY: variable}
    if factory is not MISSING:
        return field(default_factory=factory, metadata=metadata, repr=not variable.secret)
    return field(default=default, metadata=metadata, repr=not variable.secret)


def variables(kind: type[Any]) -> Iterator[tuple[str, Variable, Any]]:
    """Field name, variable and default of each setting that a dataclass declares or inherits."""
    for one in fields(kind):
        if _KEY in one.metadata:
            default = one.default_factory() if one.default_factory is not MISSING else one.default
            yield one.name, one.metadata[_KEY], default


def read(kind: type[Any], env: Mapping[str, str]) -> dict[str, Any]:
    """The fields of a dataclass that the environment sets; an empty variable counts as unset.

    Args:
        kind: the dataclass.
        env: the environment.

    Raises:
        BadSetting: a value makes no sense; the message names the variable.
    """
    return {
        name: value_of(variable, env[variable.name])
        for name, variable, _ in variables(kind)
        if env.get(variable.name, "") != ""
    }


def value_of(variable: Variable, text: str) -> Any:
    """The value of a variable's text.

    Args:
        variable: the variable.
        text: its text in the environment.

    Raises:
        BadSetting: it makes no sense.
    """
    try:
        return variable.convert(text)
    except BadSetting as err:
        raise BadSetting(f"{variable.name}: {err}") from None
    except (ValueError, DecodeError) as err:
        shown = "" if variable.secret else f"={text!r}"
        raise BadSetting(f"{variable.name}{shown}: {err}") from None


def text_of(value: Any) -> str:
    """A setting's value as it would stand in the environment."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, tuple):
        return ",".join(text_of(part) for part in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def broker(text: str) -> str:
    """The URL of a server, in the form that all parts of the program use."""
    return BrokerURL.parse(text).url


def artifacts(text: str) -> str:
    """A URL with a scheme."""
    scheme, separator, rest = text.strip().partition("://")
    if not separator or not scheme.isalnum() or not rest:
        raise ValueError("must be a URL such as file:///srv/values or s3://bucket/values")
    return text.strip().rstrip("/")


def text(value: str) -> str:
    """Any text."""
    return value


def whole(text: str) -> int:
    """A whole number above 0."""
    if not (text.strip().isascii() and text.strip().isdecimal() and int(text) > 0):
        raise ValueError("must be a whole number above 0")
    return int(text)


def count(text: str) -> int:
    """A whole number from 0 to 100."""
    if not (text.strip().isascii() and text.strip().isdecimal() and int(text) <= 100):
        raise ValueError("must be a whole number from 0 to 100")
    return int(text)


def waits(text: str) -> tuple[float, ...]:
    """Seconds, separated by commas."""
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError:
        found = ()
    if not found or not all(0 <= wait <= 86_400 for wait in found):
        raise ValueError("must be seconds from 0 to 86400, like 5,25,125")
    return found


def level(text: str) -> int:
    """An isolation level."""
    if text.strip() not in ("0", "1", "2"):
        raise ValueError("must be 0, 1 or 2")
    return int(text)


def seconds(text: str) -> float:
    """Seconds above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise ValueError("must be a number of seconds above 0")
    return value


def switch(text: str) -> bool:
    """Yes or no."""
    values = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if text.strip().lower() not in values:
        raise ValueError("must be 1 or 0")
    return values[text.strip().lower()]


def names(text: str) -> tuple[str, ...]:
    """Names, separated by commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def namespace(text: str) -> str:
    """A name that may stand in a Redis key."""
    if not text or not all(c.isalnum() or c in "-_." for c in text):
        raise ValueError("use letters, digits, '-', '_' and '.' only")
    return text
