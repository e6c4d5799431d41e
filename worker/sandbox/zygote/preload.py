"""What the zygote imports before it is forked from: IPython, the preload list, and what they load on first use."""

from __future__ import annotations

import hashlib
import importlib
import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, NamedTuple

from ..cell import environment, rehearsal
from ..cell.shell import make_shell


class Preloaded(NamedTuple):
    """What is there now."""

    shell: Any  #: of IPython, in which nothing of a user's ran
    modules: tuple[str, ...]  #: of the preload list, those that are installed
    missing: tuple[str, ...]  #: why others are not there, unless they are simply not installed


def load(names: Sequence[str], home: str) -> Preloaded:
    """Import everything and use it once.

    Args:
        names: of the modules to import, as far as they are installed.
        home: a folder that IPython and the libraries may write to.
    """
    os.environ.update({**environment.THREADS, **environment.KERNEL, "HOME": home, "TMPDIR": home})
    os.chdir(home)
    shell = make_shell(str(Path(home, ".ipython")))
    modules, missing = [], []
    for name in names:
        try:
            with shell.builtin_trap:  # they ask for get_ipython() to learn whether this is a notebook
                importlib.import_module(name)
            modules.append(name)
        except ImportError as err:
            if not str(getattr(err, "name", "")).startswith(name.partition(".")[0]):
                missing.append(f"preload {name}: {err}")
    if "matplotlib.pyplot" in sys.modules:
        _show_figures(shell)
    rehearsal.rehearse(shell)
    tempfile.tempdir = None
    return Preloaded(shell, tuple(modules), tuple(missing))


def fingerprint(modules: Sequence[str]) -> str:
    """Tells interpreters, libraries and preload lists apart.

    Args:
        modules: that are preloaded.
    """
    names = sorted({f"{found.metadata['Name']}=={found.version}" for found in distributions()})
    facts = [sys.version, platform.platform(), *modules, *names]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()


def _show_figures(shell: Any) -> None:
    """Show open figures at the end of a cell, as a notebook does."""
    from matplotlib import pyplot

    # IPython itself depends on this package, so it is always there
    from matplotlib_inline.backend_inline import configure_inline_support, flush_figures

    pyplot.switch_backend(environment.MPLBACKEND)
    configure_inline_support(shell, environment.MPLBACKEND)  # type: ignore[no-untyped-call]
    if flush_figures not in shell.events.callbacks["post_execute"]:
        shell.events.register("post_execute", flush_figures)
