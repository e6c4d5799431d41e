"""What a cell may use: the limits, as they travel in a request and as each queue has them by default."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from codeexec_magic.errors import DecodeError, LimitTooHigh

#: hard wall limit = soft limit + this, when only the soft one is given (seconds)
HARD_AFTER_SOFT_S: Final = 30.0


@dataclass(frozen=True)
class Limits:
    """What a cell's whole process tree may use. Defaults are those of the default queue."""

    soft_s: float = 90.0  #: wall seconds until SoftTimeLimitExceeded is raised in the cell
    hard_s: float = 120.0  #: wall seconds until the tree is killed
    cpu_s: float = 120.0  #: processor seconds of the tree
    memory_mb: int = 1024  #: memory of the tree, tmpfs files included
    processes: int = 10  #: processes of the tree
    tasks: int = 256  #: threads of all its processes together
    file_mb: int = 100  #: size of one file
    disk_mb: int = 512  #: all files together
    inodes: int = 20_000  #: number of files
    output_kb: int = 1024  #: bytes kept of stdout, of stderr and of displays, each
    descriptors: int = 256  #: open files per process
    shm_mb: int = 64  #: /dev/shm

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
                raise DecodeError(f"limit {name} must be a positive number, not {value!r}")
            if self.__annotations__[name] == "int" and int(value) != value:
                raise DecodeError(f"limit {name} must be a whole number, not {value!r}")
        if self.soft_s > self.hard_s:
            raise DecodeError(f"soft limit {self.soft_s:g} s is above the hard limit {self.hard_s:g} s")

    def as_dict(self) -> dict[str, float]:
        """The wire form."""
        return dict(vars(self))  # asdict copies every number deeply: a third of the cost of a submission

    @classmethod
    def from_dict(cls, data: Any) -> Limits:
        """Decode; unknown keys are refused, missing ones take their default.

        Raises:
            DecodeError: not a mapping of known names to positive numbers.
        """
        return cls(**known_fields(cls, data, "limits"))


def check_ceiling(asked: Mapping[str, float], ceiling: Limits, who: str) -> None:
    """Refuse limits above a ceiling: a request may ask for less than a worker grants, never for more.

    Args:
        asked: limits by name.
        ceiling: the most that is granted.
        who: grants it, for the error.

    Raises:
        LimitTooHigh: some are too high; the text names each of them, and what is granted.
    """
    faults = [
        f"{name}={value:g} is more than {who} allows ({getattr(ceiling, name):g})"
        for name, value in asked.items()
        if value > getattr(ceiling, name)
    ]
    if faults:
        raise LimitTooHigh("; ".join(faults))


def named_limit(text: str) -> tuple[str, float]:
    """One limit as people write it, ``NAME=N``.

    Raises:
        ValueError: there is no such limit, or it is no number; the message says what there is.
    """
    name, sign, number = text.replace(" ", "").partition("=")
    if name not in Limits.__dataclass_fields__:
        raise ValueError(f"unknown limit {name!r}: there are {', '.join(Limits.__dataclass_fields__)}")
    try:
        value = float(number)
        return name, int(value) if value == int(value) else value
    except (ValueError, OverflowError):
        raise ValueError(f"limit {name}{sign}{number}: write a number, like {name}=20") from None


def known_fields(cls: Any, data: Any, what: str) -> dict[str, Any]:
    """The fields of a wire object.

    Args:
        cls: the dataclass it is to become.
        data: what came.
        what: names it in errors.

    Raises:
        DecodeError: no mapping, or a field that the class does not have.
    """
    if not isinstance(data, Mapping):
        raise DecodeError(f"{what} must be a JSON object, not {type(data).__name__}")
    names = cls.__dataclass_fields__
    extra = sorted(str(key) for key in data if key not in names)
    if extra:
        raise DecodeError(f"{what} has unknown fields: {', '.join(extra)}")
    return dict(data)
