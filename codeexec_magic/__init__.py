"""Run notebook cells somewhere else, safely: ``%load_ext codeexec_magic``, then ``%%remote_exec``."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from codeexec_magic.version import __version__

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from codeexec_magic.client import Client
    from codeexec_magic.code_tools import CodeTools
    from codeexec_magic.job import Job

__all__ = ["Client", "CodeTools", "Job", "__version__", "load_ipython_extension", "unload_ipython_extension"]

#: public names and where they live; imported on first use, so that the base import stays light
_HOMES = {"Client": "client", "Job": "job", "CodeTools": "code_tools"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'codeexec_magic' has no attribute {name!r}")
    return getattr(importlib.import_module(f"codeexec_magic.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)


def load_ipython_extension(ipython: InteractiveShell) -> None:
    """Register the magics; called by ``%load_ext codeexec_magic``."""
    from codeexec_magic.magics import register

    register(ipython)


def unload_ipython_extension(ipython: InteractiveShell) -> None:
    """Remove the magics again; called by ``%unload_ext codeexec_magic``."""
    from codeexec_magic.magics import unregister

    unregister(ipython)
