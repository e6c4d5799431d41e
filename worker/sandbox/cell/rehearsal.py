"""Cells of our own, run in the zygote before any other: what they load and cache, no real cell has to.

Nothing else of them may stay: a fresh cell's interpreter equals the interpreter of a fresh kernel.
"""

from __future__ import annotations

import contextlib
import linecache
import sys
from collections.abc import Iterator
from typing import Any, Final

from ..protocol import packets
from .shell import channel
from .streams import Stream

#: what a notebook does most: each line loads modules and fills caches that every cell then shares
_REHEARSAL: Final = (
    ("", "import sys\nprint(sys.version, file=sys.stderr)\n1 + 1"),
    ("", "1 / 0"),
    ("", "import asyncio, subprocess, tempfile"),  # no event loop: its descriptors would not live on in a cell
    ("numpy", "import numpy\nnumpy.arange(3.0)"),
    ("pandas", "import pandas\npandas.DataFrame({'a': [1, 2], 'b': ['x', 'y']})"),
    ("matplotlib.pyplot", "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.title('t')"),
)
#: what cells do, the most usual first; IPython has a way of its own for those of a single line
_TYPICAL: Final = (
    ("", "1 + 1"),
    ("", "import sys\nprint(sys.version)\n1 + 1"),
    ("pandas", "import pandas\npandas.DataFrame({'a': [1, 2], 'b': ['x', 'y']})"),
)
_LAST_ERROR: Final = ("last_type", "last_value", "last_traceback", "last_exc")
_LAST_INPUTS: Final = ("_i", "_ii", "_iii", "_i00")


def rehearse(shell: Any) -> None:
    """Run the cells with nobody listening, and remove what they leave.

    Args:
        shell: a shell in which nothing ran yet.
    """
    with _state_kept(shell), _output_dropped():
        for module, code in _REHEARSAL:
            if not module or module in sys.modules:
                shell.run_cell(code, store_history=True)


def typical(count: int) -> list[str]:
    """What cells usually do, as far as its library is loaded.

    Args:
        count: how many at most.
    """
    return [code for module, code in _TYPICAL[:count] if not module or module in sys.modules]


@contextlib.contextmanager
def _output_dropped() -> Iterator[None]:
    stdout, stderr = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = Stream(channel, packets.STDOUT), Stream(channel, packets.STDERR)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = stdout, stderr


@contextlib.contextmanager
def _state_kept(shell: Any) -> Iterator[None]:
    namespace, hidden = dict(shell.user_module.__dict__), dict(shell.user_ns_hidden)
    lines = set(linecache.cache)
    yield
    shell.reset(new_session=True)
    # what reset() makes of the namespace lacks names that a module has, and a shell that was just made
    for current, fresh in ((shell.user_module.__dict__, namespace), (shell.user_ns_hidden, hidden)):
        current.clear()
        current.update(fresh)
    history = shell.history_manager
    for name in _LAST_INPUTS:
        setattr(history, name, "")
    for name in _LAST_ERROR:
        sys.__dict__.pop(name, None)
    shell.init_traceback_handlers(((), None))  # they hold the last error for %tb and %debug
    shell.failure = None
    for name in set(linecache.cache) - lines:
        del linecache.cache[name]
    getattr(shell.compile, "_filename_map", {}).clear()
    pyplot: Any = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None and hasattr(pyplot.draw_if_interactive, "called"):
        pyplot.draw_if_interactive.called = False  # or %run shows an empty figure
