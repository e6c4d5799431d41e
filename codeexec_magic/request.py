"""From what a caller says to a checked request; nothing here talks to a server."""

from __future__ import annotations

import keyword
import re
import uuid
from collections.abc import Iterable, Mapping
from typing import Any, Final

from codeexec_magic.contract import DEFAULT_LIMITS, ExecutionRequest
from codeexec_magic.errors import BadOption, CodeTooLarge, DecodeError, EmptyCode
from codeexec_magic.limits import HARD_AFTER_SOFT_S, Limits
from codeexec_magic.syntax import check_syntax
from codeexec_magic.values.ref import FileRef, ValueRef

#: names that IPython or Python give a meaning
_RESERVED: Final = frozenset({"In", "Out", "get_ipython", "exit", "quit", "_dh", "_oh", "_ih", "_sh", "_exit_code"})
_CACHE_MODES = {True: "use", False: "off", "use": "use", "off": "off", "refresh": "refresh"}


def check_code(code: str, limit_kb: int) -> None:
    """Refuse code that cannot be run.

    Args:
        code: the cell.
        limit_kb: largest source accepted.

    Raises:
        BadRequest: empty, too large or not parsing (a subclass says what).
    """
    if not isinstance(code, str):
        raise BadOption(f"code must be text, not {type(code).__name__}")
    size = len(code.encode("utf-8", "surrogatepass"))
    if size > limit_kb * 1024:
        raise CodeTooLarge(
            f"the cell is {size / 1024:,.0f} KB of source, the limit is {limit_kb:,} KB "
            "(CODEEXEC_MAX_CODE_KB): put data in files or inputs instead"
        )
    if not code.strip():
        raise EmptyCode
    check_syntax(code)


def check_inputs(inputs: Any) -> Mapping[str, Any]:
    """The variables a caller wants to send, by name.

    Raises:
        BadOption: no mapping of variable names.
    """
    if inputs is None:
        return {}
    if not isinstance(inputs, Mapping):
        raise BadOption(f"inputs must be a dictionary of names and values, not {type(inputs).__name__}")
    for name in inputs:
        _check_name(name, "inputs")
    return inputs


def check_output(name: Any) -> str:
    """The name of a variable that is to come back.

    Raises:
        BadOption: it is none, or belongs to IPython or Python.
    """
    return _check_name(name, "outputs")


def _check_name(name: Any, what: str) -> str:
    if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name):
        raise BadOption(f"{what}: {name!r} cannot be a variable name")
    if (
        name in _RESERVED
        or not name.strip("_")
        or name.strip("_").isdigit()
        or re.fullmatch(r"__\w+__|_i+|_i\d+", name)
    ):
        raise BadOption(f"{what}: {name} belongs to IPython or Python; give the variable another name")
    return name


def build_request(
    code: str,
    queue: str,
    limits: Mapping[str, float],
    retries: int,
    retry_waits: Iterable[float],
    cache: bool | str,
    network: bool,
    inputs: Mapping[str, ValueRef],
    outputs: Iterable[str],
    uploads: Iterable[FileRef],
    downloads: Iterable[str],
    label: str,
) -> ExecutionRequest:
    """A request with a fresh id; the arguments are those of :meth:`codeexec_magic.Client.submit`.

    Raises:
        BadOption: a value makes no sense; one line says which.
    """
    if cache not in _CACHE_MODES:
        raise BadOption(f"cache must be True, False, 'use', 'refresh' or 'off', not {cache!r}")
    outputs = [check_output(name) for name in outputs]
    try:
        request = ExecutionRequest(
            task_id=str(uuid.uuid4()),
            code=code,
            queue=queue,
            limits=Limits.from_dict({**DEFAULT_LIMITS.get(queue, Limits()).as_dict(), **limits}),
            retries=retries,
            retry_waits_s=tuple(retry_waits),
            cache=_CACHE_MODES[cache],
            network=network,
            inputs=inputs,
            outputs=tuple(dict.fromkeys(outputs)),
            uploads=tuple(uploads),
            downloads=tuple(dict.fromkeys(downloads)),
            label=" ".join(label.split())[:60],
        )
        # what the worker would refuse is refused here, before anything is queued
        return ExecutionRequest.from_dict(request.as_dict())
    except (DecodeError, TypeError, ValueError) as err:
        raise BadOption(str(err)) from None


def asked_limits(
    queue: str,
    timeout: float | None,
    hard_timeout: float | None,
    memory_mb: int | None,
    limits: Mapping[str, float] | None,
) -> dict[str, float]:
    """The limits a caller named, by field; a soft limit brings its hard and processor limit along."""
    asked: dict[str, float] = dict(limits or {})
    unknown = set(asked) - set(Limits.__dataclass_fields__)
    if unknown:
        raise BadOption(f"unknown limit {sorted(unknown)[0]!r}: there are {', '.join(Limits.__dataclass_fields__)}")
    default = DEFAULT_LIMITS.get(queue, Limits())
    if timeout is not None:
        asked["soft_s"] = _positive("timeout", timeout)
    if hard_timeout is not None:
        asked["hard_s"] = _positive("hard_timeout", hard_timeout)
    if memory_mb is not None:
        asked["memory_mb"] = _positive("memory_mb", memory_mb)
    if "soft_s" in asked and "hard_s" not in asked:
        asked["hard_s"] = asked["soft_s"] + HARD_AFTER_SOFT_S
    if "hard_s" in asked:
        asked.setdefault("soft_s", min(default.soft_s, asked["hard_s"]))
        if asked["hard_s"] > default.cpu_s:
            asked.setdefault("cpu_s", asked["hard_s"])
    return asked


def _positive(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise BadOption(f"{name} must be a number above 0, not {value!r}")
    return value
