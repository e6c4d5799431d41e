"""Variables on their way to a cell and back: JSON values only, so that nothing a cell returns can run here."""

from __future__ import annotations

import math
from collections.abc import Mapping, MutableMapping, Sequence
from difflib import get_close_matches
from typing import Any

from IPython.core.error import UsageError

#: what to do with values that are often meant to be sent
_REMEDIES = {
    "DataFrame": ".to_dict('list')",
    "Series": ".tolist()",
    "ndarray": ".tolist()",
    "set": "sorted(…)",
    "frozenset": "sorted(…)",
    "datetime": ".isoformat()",
    "date": ".isoformat()",
    "Timestamp": ".isoformat()",
    "PosixPath": "str(…)",
    "bytes": "base64.b64encode(…).decode()",
    "int64": ".item()",
    "float64": ".item()",
}


def collect(names: Sequence[str], namespace: Mapping[str, Any]) -> dict[str, Any]:
    """The variables called ``names``.

    Raises:
        UsageError: one does not exist, or is not made of JSON values; the message names the part that is not.
    """
    found: dict[str, Any] = {}
    for name in names:
        if name not in namespace:
            near = get_close_matches(name, [key for key in namespace if not key.startswith("_")], 1)
            raise UsageError(f"--in {name}: no such variable" + (f"; did you mean {near[0]}?" if near else ""))
        problem = _problem(namespace[name], name, set())
        if problem:
            raise UsageError(f"--in {name}: {problem}")
        found[name] = namespace[name]
    return found


def bring_back(names: Sequence[str], values: Mapping[str, Any], namespace: MutableMapping[str, Any]) -> list[str]:
    """Bind the values that came back; the names of those that did not."""
    for name in names:
        if name in values:
            namespace[name] = values[name]
    return [name for name in names if name not in values]


def _problem(value: Any, path: str, above: set[int]) -> str:
    """Why ``value`` cannot be sent; empty if it can."""
    if value is None or isinstance(value, bool) or type(value) in (str, int):
        return ""
    if type(value) is float:
        return "" if math.isfinite(value) else f"{path} is {value}, which JSON does not have"
    if isinstance(value, list | tuple | dict):
        if id(value) in above:
            return f"{path} contains itself"
        above = above | {id(value)}
        if isinstance(value, dict):
            bad = next((key for key in value if not isinstance(key, str)), None)
            if bad is not None:
                return f"{path} has the key {bad!r}; JSON objects have text keys only"
            parts = [(f"{path}[{key!r}]", item) for key, item in value.items()]
        else:
            parts = [(f"{path}[{i}]", item) for i, item in enumerate(value)]
        return next((problem for where, item in parts if (problem := _problem(item, where, above))), "")
    kind = type(value).__name__
    remedy = _REMEDIES.get(kind)
    hint = f": send {remedy.replace('…', path) if '…' in remedy else path + remedy}" if remedy else ""
    return f"{path} is a {kind}, which is not a JSON value{hint}"
