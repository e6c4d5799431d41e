"""Progress bars of ``tqdm.auto`` and ``tqdm.notebook`` as displays: they would make widgets, which no sandbox has.

What stands here costs a cell that imports neither of the two a comparison of names at each of its imports.
"""

from __future__ import annotations

import os
import re
import sys
import time
from importlib import import_module
from importlib.machinery import ModuleSpec
from typing import Any, Final

#: what a bar is sent as, beside plain text: ``left`` and ``right`` of the bar, ``share`` done (null: unknown),
#: ``state`` (running, done, stopped) and ``colour``; whoever shows it draws it
MIME: Final = "application/vnd.codeexec.progress+json"
_MODULES: Final = ("tqdm.notebook", "tqdm.autonotebook")
#: shortest time between two pictures of one bar (seconds), and the part of its age that passes between them at least:
#: a bar that lasts for minutes needs no ten of them each second
_REDRAW_S, _REDRAW_SHARE = 0.1, 0.01
#: pictures of all bars of a cell together: how many at once, and per second from then on
_BURST, _PER_S = 30.0, 10.0
#: a bar that went away so long before the cell failed did not go because of that (seconds)
_JUST_NOW_S: Final = 5.0
_BAR: Final = re.compile(r"\{bar(:[^{}]*)?\}")
_MARK: Final = "\0"


class Finder:
    """Stands in for tqdm's two modules for notebooks; tqdm itself is the cell's own."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """As importers have it."""
        del path, target
        return ModuleSpec(name, self) if name in _MODULES else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> None:
        """An ordinary module."""

    def exec_module(self, module: Any) -> None:
        """Give it the names that tqdm's own module has."""
        if module.__name__ == _MODULES[1]:
            drawn = import_module(_MODULES[0])
            module.tqdm, module.trange = drawn.tqdm, drawn.trange
            return
        bar = _bar_class()

        def trange(*args: Any, **options: Any) -> Any:
            """``tqdm(range(…))``."""
            return bar(range(*args), **options)

        module.tqdm = module.tqdm_notebook = bar
        module.trange = module.tnrange = trange


class _Budget:
    """Bounds what all bars of a cell send: displays have one cap, and a plot after many bars must find room."""

    def __init__(self) -> None:
        self._left, self._at = _BURST, time.monotonic()

    def grants(self, pictures: int) -> bool:
        now = time.monotonic()
        self._left = min(_BURST, self._left + (now - self._at) * _PER_S)
        self._at = now
        if self._left < pictures:
            return False
        self._left -= pictures
        return True


class _Place:
    """Where one bar is drawn."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._id = os.urandom(8).hex()
        self.shown = False

    def draw(self, data: dict[str, Any]) -> None:
        # through the shell: a cell may capture what is displayed
        self._shell.display_pub.publish(data, transient={"display_id": self._id}, update=self.shown)
        self.shown = True


def _bar_class() -> Any:  # noqa: C901 - a class whose base comes with the cell
    from IPython import get_ipython

    std: Any = import_module("tqdm.std")
    shell: Any = get_ipython()
    budget = _Budget()
    #: places of inner bars that went away, by depth: the next one is drawn there, so that nothing jumps and nothing is
    #: left over from a thousand of them
    left: dict[int, _Place] = {}
    #: bars taken away before they were full, and nothing was drawn since: an exception that leaves a loop looks to its
    #: bar like a ``break``, and only after the cell it is known which it was
    unfinished: list[tuple[Any, float]] = []

    class Bar(std.tqdm):  # type: ignore[misc]
        """A tqdm bar that is drawn as a display."""

        def __init__(self, *args: Any, display: bool = True, **options: Any) -> None:
            file = options.get("file")
            # one that writes to a file of its own stays text; ``gui`` keeps tqdm from writing
            drawn = file is None or file in (sys.stdout, sys.stderr)
            options["gui"] = drawn
            options["disable"] = bool(options.get("disable", False))
            self._wanted = drawn and display
            self._place: _Place | None = None
            self._born, self._drawn_at = time.monotonic(), 0.0
            self._failed = False
            super().__init__(*args, **options)
            if drawn and not self.disable and self.delay <= 0:
                self.display()

        def __iter__(self) -> Any:
            try:
                yield from super().__iter__()
            except GeneratorExit:
                raise
            except BaseException:
                self._failed = True
                self._draw("stopped")
                raise

        def display(self, msg: Any = None, pos: Any = None, **_: Any) -> Any:
            """Draw it, unless that was just now."""
            if not self.gui:
                return super().display(msg, pos)
            now = time.monotonic()
            if now - self._drawn_at < max(_REDRAW_S, (now - self._born) * _REDRAW_SHARE):
                return False
            # one that will go away needs a second picture for that
            if not budget.grants(1 if self._place or self._keeps or self.pos else 2):
                return False
            self._drawn_at = now
            unfinished.clear()
            return self._draw("running")

        def close(self) -> None:
            """Draw its end, or take it away."""
            if not self.gui or self.disable:
                super().close()
                return
            keeps, depth = self._keeps, abs(self.pos)
            super().close()
            clear_below(depth)
            if keeps or self._failed:
                short = self._failed or (self.total and self.n < self.total)
                self._draw("stopped" if short else "done")
                return
            if self.total is None or self.n < self.total:
                unfinished.append((self, time.monotonic()))
            if self._place is not None and depth:
                left[depth] = self._place
            elif self._place is not None:
                self._place.draw({})

        def clear(self, *args: Any, **options: Any) -> None:
            """Make room for a line of text: a display need not."""
            if not self.gui:
                super().clear(*args, **options)

        def reset(self, total: Any = None) -> None:
            """Start anew."""
            self._failed, self._drawn_at = False, 0.0
            super().reset(total)

        @property
        def _keeps(self) -> bool:
            return bool(self.pos == 0 if self.leave is None else self.leave)

        def _draw(self, state: str) -> bool:
            if not self._wanted:
                return False
            if self._place is None:
                self._place = (None if self._keeps else left.pop(abs(self.pos), None)) or _Place(shell)
            told = {**self.format_dict, "ncols": None, "colour": None}
            total = told["total"]
            known = bool(total) and self.n < total + 0.5
            form = _BAR.sub(_MARK, told["bar_format"] or "{l_bar}{bar}{r_bar}")
            before, mark, after = self.format_meter(**{**told, "bar_format": form}).partition(_MARK)
            before, after = (before.rstrip("|"), after.lstrip("| ")) if mark else ("", before)
            share = min(1.0, max(0.0, float(self.n / total))) if known else None
            data = {"left": before, "right": after, "share": share, "state": state, "colour": self.colour}
            self._place.draw({MIME: data, "text/plain": self.format_meter(**told)})
            return True

    def clear_below(depth: int) -> None:
        for place in [left.pop(each) for each in list(left) if each > depth]:
            place.draw({})

    def close_all(result: Any) -> None:
        """After the cell no bar goes on; the traceback still holds those whose loop it left."""
        for bar in list(getattr(std.tqdm, "_instances", ())):
            if isinstance(bar, Bar):
                bar._failed = not result.success
                bar.close()
        clear_below(0)
        if not result.success:
            for bar, at in unfinished:
                if time.monotonic() - at < _JUST_NOW_S:
                    bar._draw("stopped")
        unfinished.clear()

    shell.events.register("post_run_cell", close_all)
    return Bar
