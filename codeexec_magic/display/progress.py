"""Progress bars that cells draw with tqdm, as HTML. Pure.

A sandbox has no widgets: its tqdm sends what a bar shows, and here it is drawn. All of it is as hostile as any output.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Any, Final

from codeexec_magic.display.html_clean import NO_MATH

#: as the sandbox has it, which imports nothing of ours
MIME: Final = "application/vnd.codeexec.progress+json"
_COLOURS: Final = {
    "running": "var(--jp-brand-color1,#1976d2)",
    "done": "var(--jp-success-color1,#388e3c)",
    "stopped": "var(--jp-error-color1,#d32f2f)",
}
_OWN_COLOUR: Final = re.compile(r"#[0-9a-fA-F]{6}|[a-zA-Z]{3,20}")
_PADDING: Final = re.compile(r" (?= *\d)")
_LIMIT: Final = 300


def progress_html(data: Any) -> str | None:
    """A bar between its two texts; None if it is none."""
    state = str(data.get("state")) if isinstance(data, Mapping) else ""
    if state not in _COLOURS:
        return None
    share, own = data.get("share"), data.get("colour")
    colour = own if state == "running" and isinstance(own, str) and _OWN_COLOUR.fullmatch(own) else _COLOURS[state]
    texts = [_text(data.get(side)) for side in ("left", "right")]
    # neither NaN nor a whole number that no float can hold
    known = isinstance(share, int | float) and -1e18 < share < 1e18
    done = min(1.0, max(0.0, float(share or 0.0))) if known else float(state == "done")
    if known or state == "done":
        fill = f"width:{100 * done:.1f}%;background:{colour}"
    else:
        # how far it is nobody knows: hatched, and not a part of anything
        fill = f"width:100%;background:repeating-linear-gradient(135deg,{colour} 0 6px,transparent 6px 12px)"
    track = (
        f'<span role="progressbar" aria-valuemin="0" aria-valuemax="100"{_value(done) if known else ""} '
        'style="display:inline-block;flex:0 1 220px;min-width:60px;height:8px;border-radius:4px;overflow:hidden;'
        'background:var(--jp-layout-color3,#e0e0e0)">'
        f'<span style="display:block;height:100%;border-radius:4px;{fill}"></span></span>'
    )
    left, right = (f'<span style="white-space:pre">{one}</span>' if one else "" for one in texts)
    # a space each: a viewer that drops styles puts the three in one line of text
    return (
        f'<div class="cxm-progress {NO_MATH}" style="display:flex;align-items:center;gap:10px;min-height:22px;'
        "padding-left:7px;"
        "font:13px/1.45 var(--jp-ui-font-family,system-ui,sans-serif);font-variant-numeric:tabular-nums;"
        f'color:var(--jp-ui-font-color1,inherit)">{left} {track} {right}</div>'
    )


def _value(done: float) -> str:
    return f' aria-valuenow="{100 * done:.0f}"'


def _text(value: Any) -> str:
    if not isinstance(value, str):
        return ""
    line = "".join(c if c.isprintable() else " " for c in value[:_LIMIT])
    # numbers are padded with spaces, which are narrower than digits: the bar would move with each
    return html.escape(_PADDING.sub("\u2007", line), quote=True)
