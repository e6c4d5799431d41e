"""What an address space consists of, as the kernel shows it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Mapping(NamedTuple):
    """One part of an address space."""

    start: int
    end: int
    rights: str
    file: str


def mappings(process: int | str = "self") -> list[Mapping]:
    """The mappings of a process, by default of this one, in the order of their addresses.

    Raises:
        OSError: the process is gone, or not ours to read.
    """
    found = []
    for line in Path(f"/proc/{process}/maps").read_text().splitlines():
        addresses, rights, _, _, _, *name = line.split(None, 5)
        start, end = (int(part, 16) for part in addresses.split("-"))
        found.append(Mapping(start, end, rights, name[0] if name else ""))
    return found
