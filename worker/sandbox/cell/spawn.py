"""What the zygote knows of a cell that it is about to fork, and the two ways in which a cell is surrounded."""

from __future__ import annotations

import abc
import os
from dataclasses import dataclass
from typing import Any, ClassVar

from ..fastfork.tuning import Tuning
from ..linux import namespaces, syscalls
from ..protocol.messages import ForkCell
from ..protocol.weakening import Weakening

#: descriptors of the cell, in the order in which the launcher sends them
CELL_FDS = ("code", "stdout", "stderr", "events")


@dataclass
class Spawn(abc.ABC):
    """An order of the launcher's, with what the zygote has for it."""

    order: ForkCell
    fds: dict[str, int]  #: by name
    groups: list[int]  #: descriptors by which to enter the control group
    weakening: Weakening
    readable: list[str]  #: what of the host a cell may read where it has no root of its own
    shell: Any
    tuning: Tuning
    supervised: bool  #: the launcher answers for new processes and locks
    listener: int = 0  #: descriptor of the calls that wait for the launcher; closed before the cell's code comes

    namespaced: ClassVar[bool]
    #: names of the descriptors that come before those of every cell
    first_fds: ClassVar[tuple[str, ...]]

    @property
    def uid(self) -> int:
        """The cell's user, as this process's user namespace counts."""
        return self.order.uid

    @property
    def network(self) -> bool:
        """Whether the cell gets the host's network."""
        return self.order.network

    @property
    def unseen_memory(self) -> bool:
        """Whether the cell may hold memory that only a control group counts."""
        return self.order.unseen_memory

    @property
    @abc.abstractmethod
    def home(self) -> str:
        """The cell's folder."""

    @abc.abstractmethod
    def enter(self) -> None:
        """Move the calling process into the surroundings of the cell.

        Raises:
            OSError: the kernel refuses.
        """

    @abc.abstractmethod
    def hold_memory(self) -> None:
        """Shorten the cell's end, where that can be done."""

    def enter_groups(self) -> None:
        """Have the calling process, and its children from now on, counted.

        Raises:
            OSError: the kernel refuses.
        """
        for fd in self.groups:
            os.write(fd, b"0")
            os.close(fd)


class NamespacedSpawn(Spawn):
    """The cell enters the namespaces of its run."""

    namespaced = True
    first_fds = ("pid", "mnt")

    @property
    def home(self) -> str:
        """The same in every run, where its own mount lies; a rehearsal has no such mount, and names another folder."""
        return self.order.home or namespaces.HOME

    def enter(self) -> None:
        """Enter control group and mount namespace; the zygote has forked the process into its process namespace."""
        self.enter_groups()
        syscalls.setns(self.fds["mnt"], syscalls.CLONE_NEWNS)
        namespaces.move_in(self.uid, network=self.network or self.weakening.netns)

    def hold_memory(self) -> None:
        """Only a control group's limit of tasks leaves room for one process more."""
        if self.unseen_memory:
            self.tuning.hold_memory()


class PlainSpawn(Spawn):
    """The cell has a parent, which enters the control group for it, and a folder on the host."""

    namespaced = False
    first_fds = ("control",)

    @property
    def home(self) -> str:
        """Made by the launcher."""
        return self.order.home

    def enter(self) -> None:
        """There is nothing to enter."""

    def hold_memory(self) -> None:
        """Nothing would end the holder at once."""
