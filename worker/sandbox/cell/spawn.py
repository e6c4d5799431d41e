"""What the zygote and the parent of a cell are told when the launcher orders a sandbox."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

from ..fastfork.prefault import Pages

#: descriptors of the cell, in the order the launcher sends them
CELL_FDS = ("code", "stdout", "stderr", "events")


@dataclass
class Spawn:
    """What the launcher asked for."""

    level: int
    fds: dict[str, int]
    groups: list[int]  #: descriptors by which to enter the control group
    uid: int  #: of the cell, as this process's user namespace counts
    limits: dict[str, Any]
    network: bool
    home: str
    unseen_memory: bool
    supervised: bool  #: the launcher answers for new processes and locks
    guards_off: tuple[str, ...]  #: only ever set by tests that prove each guard matters
    readable: list[str]  #: what of the host a cell may read where it has no root of its own
    shell: Any
    pages: Pages = field(default_factory=Pages)  #: what every cell touches
    more_pages: Pages = field(default_factory=Pages)  #: what many do
    listener: int = 0  #: descriptor of the calls that wait for the launcher; closed before the cell's code comes
    namespaces: dict[str, int] = field(default_factory=dict)  #: namespaces, by name, that the cell must enter first

    def enter_groups(self) -> None:
        """Have the calling process, and its children from now on, counted.

        Raises:
            OSError: the kernel refuses.
        """
        for fd in self.groups:
            os.write(fd, b"0")
            os.close(fd)
