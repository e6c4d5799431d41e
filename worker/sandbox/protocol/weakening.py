"""The guards that a sandbox does without: none, except in the tests that prove that each guard matters."""

# annotations stay objects, as in ``messages``

import sys
from pathlib import Path
from typing import Any, Final, NamedTuple

#: the only file that may leave a guard out
_MAKER: Final = ("tests", "weakened.py")


class _Guards(NamedTuple):
    env: bool = False  #: the environment of the worker reaches the cell
    fds: bool = False  #: so do descriptors
    memory: bool = False  #: nothing limits the memory of the process tree
    landlock: bool = False
    seccomp: bool = False
    netns: bool = False  #: the cell shares the zygote's network namespace


class Weakening(_Guards):
    """Which guards are left out; an immutable value that is empty in production.

    Only a file of the tests can make one that is not empty. Launcher and zygote get theirs from the worker's.
    """

    __slots__ = ()

    def __new__(cls, **guards: bool) -> Any:
        """Make one.

        Raises:
            RuntimeError: a guard is to be left out, and the caller is no test.
        """
        if any(guards.values()) and Path(sys._getframe(1).f_code.co_filename).parts[-2:] != _MAKER:
            raise RuntimeError("only the tests may leave a guard of the sandbox out")
        return super().__new__(cls, **guards)
