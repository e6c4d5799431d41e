"""The frames of a traceback: which are the user's, how many are shown, and how their modules are found quickly."""

from __future__ import annotations

import contextlib
import inspect
import sys
import types
from collections.abc import ItemsView, Iterator
from pathlib import Path
from typing import Any, Final

#: frames of one traceback that are formatted; each costs a third of a millisecond, and a raised recursion limit makes
#: a hundred thousand
_FRAMES: Final = 2000


def users_part(trace: Any, ours: str) -> tuple[Any, int]:
    """A traceback without our frames, the user's lines being what raised, and without the middle of a huge one.

    Args:
        trace: the traceback; whatever else a caller passes is returned as it is.
        ours: how the file names of our own code start.

    Returns:
        the traceback, and the number of frames left out of its middle
    """
    links = []
    link = trace
    while isinstance(link, types.TracebackType):
        links.append(link)
        link = link.tb_next
    if not links:
        return trace, 0
    kept = [link for link in links if not link.tb_frame.f_code.co_filename.startswith(ours)] or links[:1]
    left_out = max(0, len(kept) - _FRAMES)
    if left_out:
        kept[_FRAMES // 2 : -_FRAMES // 2] = []
    made = None
    for link in reversed(kept):
        made = types.TracebackType(made, link.tb_frame, link.tb_lasti, link.tb_lineno)
    return made, left_out


@contextlib.contextmanager
def modules_known(error: Any) -> Iterator[None]:
    """Tell :mod:`inspect` the modules of code that no file belongs to, such as a cell's.

    For each frame of such code it would search all modules that are loaded, several times: a recursion of a thousand
    frames took a minute beside the usual libraries.

    Args:
        error: the exception whose traceback is formatted meanwhile.
    """
    known: dict[str, str] = inspect.modulesbyfile
    added = []
    for name, module in _unknown_files(error, known):
        # inspect looks for either form
        for form in {name, str(Path(name).absolute())} - known.keys():
            known[form] = module
            added.append(form)
    try:
        yield
    finally:
        for form in added:
            known.pop(form, None)


def _unknown_files(error: Any, known: dict[str, str]) -> ItemsView[str, str]:
    found: dict[str, str] = {}
    errors, seen = [error], set()
    while errors:
        one = errors.pop()
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen.add(id(one))
        errors += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]
        trace = one.__traceback__
        while trace is not None:
            frame, trace = trace.tb_frame, trace.tb_next
            name, module = frame.f_code.co_filename, frame.f_globals.get("__name__")
            if name not in known and isinstance(module, str) and module in sys.modules:
                found.setdefault(name, module)
    return found.items()
