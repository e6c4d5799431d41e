"""How cards and panels look: one style sheet, and the small pieces that every picture is made of. Pure text."""

from __future__ import annotations

import html
from typing import Final

from codeexec_magic.contract import Status
from codeexec_magic.display.html_clean import NO_MATH
from codeexec_magic.hostile_text import one_line, plain_text

#: glyph and word of each status; a colour never stands alone
WORDS: Final = {
    Status.QUEUED: ("○", "Queued"),
    Status.RUNNING: ("●", "Running"),
    Status.RETRYING: ("↻", "Retrying"),
    Status.SUCCEEDED: ("✓", "Succeeded"),
    Status.FAILED: ("✕", "Failed"),
    Status.DEAD_LETTERED: ("☠", "Dead-lettered"),
    Status.CANCELLED: ("⊘", "Cancelled"),
}

#: every colour follows the front end's theme; the last value is for viewers that have none
_COLOURS: Final = """
--cx-fg:var(--jp-ui-font-color1,var(--vscode-editor-foreground,#212121));
--cx-dim:var(--jp-ui-font-color2,var(--vscode-descriptionForeground,#616161));
--cx-bg:var(--jp-layout-color1,var(--vscode-editor-background,#fff));
--cx-bg2:var(--jp-layout-color2,var(--vscode-textCodeBlock-background,#eee));
--cx-line:var(--jp-border-color2,var(--vscode-panel-border,#e0e0e0));
--cx-ok:var(--jp-success-color1,#388e3c);--cx-warn:var(--jp-warn-color1,#e65100);
--cx-err:var(--jp-error-color1,#d32f2f);--cx-run:var(--jp-brand-color1,#1976d2);--cx-dead:#8e5bd0;
"""

CSS: Final = (
    "<style>.cxm{"
    + _COLOURS
    + """color:var(--cx-fg);font:13px/1.45 var(--jp-ui-font-family,system-ui,sans-serif);box-sizing:border-box}
[data-jp-theme-light="false"] .cxm,.vscode-dark .cxm{--cx-dead:#b794f4}
.cxm-card{border:1px solid var(--cx-line);border-radius:6px;padding:8px 12px;background:var(--cx-bg);margin:4px 0}
.jp-RenderedHTMLCommon>.cxm-card{margin-right:-20px}
.cxm-row{display:flex;align-items:baseline;gap:2px 10px;flex-wrap:wrap;min-height:22px}
.cxm-row>*{line-height:20px!important}
.cxm .cxm-sep{width:0;overflow:hidden;margin-left:-10px;white-space:pre}
.cxm-dim{color:var(--cx-dim)}.cxm-num{font-variant-numeric:tabular-nums;white-space:nowrap}
.cxm code{font:12px/1.45 var(--jp-code-font-family,ui-monospace,monospace)!important;color:var(--cx-dim)!important;
background:none!important;padding:0!important;border:0!important}
.cxm code.cxm-id{display:inline-block;width:8ch;overflow:hidden;white-space:nowrap;user-select:all;cursor:copy;
vertical-align:bottom;line-height:20px!important}
.cxm-pill{display:inline-flex;align-items:center;gap:5px;padding:0 9px;height:20px;border-radius:10px;
font-size:11.5px;font-weight:600;white-space:nowrap;color:color-mix(in srgb,var(--c) 72%,var(--cx-fg));
background:color-mix(in srgb,var(--c) 14%,transparent)}
.cxm-queued,.cxm-cancelled{--c:var(--cx-dim)}.cxm-running{--c:var(--cx-run)}.cxm-retrying,.cxm-warn{--c:var(--cx-warn)}
.cxm-succeeded,.cxm-cached{--c:var(--cx-ok)}.cxm-failed{--c:var(--cx-err)}.cxm-dead_lettered{--c:var(--cx-dead)}
.cxm-live .cxm-running b{animation:cxm-pulse 1.2s infinite}@keyframes cxm-pulse{50%{opacity:.25}}
.cxm-bar{display:flex;height:4px;border-radius:2px;overflow:hidden;gap:2px;margin-top:7px;background:var(--cx-bg2)}
.cxm-bar i{display:block;background:var(--c)}
.cxm-bar i.cxm-wait{background:color-mix(in srgb,var(--cx-dim) 45%,transparent)}
.cxm-note{margin-top:5px;color:var(--cx-dim);overflow-wrap:anywhere}.cxm-note b{color:var(--c);font-weight:600}
.cxm pre{margin:6px 0 0!important;padding:6px 9px!important;border-radius:4px;overflow:auto;
background:var(--cx-bg2)!important;color:var(--cx-fg);
font:12px/1.45 var(--jp-code-font-family,ui-monospace,monospace);max-height:220px;white-space:pre-wrap}
.cxm table{border-collapse:collapse;width:100%;font-size:12.5px;margin:0;border:0;table-layout:auto}
.cxm th{font-weight:500;color:var(--cx-dim);font-size:11.5px}
.cxm td,.cxm th{padding:4px 8px!important;border:0;border-bottom:1px solid var(--cx-line);text-align:left!important;
white-space:nowrap;background:none!important;vertical-align:middle;max-width:360px;overflow:hidden;text-overflow:ellipsis}
.cxm tr{background:none!important}.cxm tr:last-child td{border-bottom:0}.cxm-wide{overflow-x:auto}
.cxm td code{white-space:nowrap!important}.cxm td.cxm-cell{max-width:220px}
.cxm td.cxm-wrap{white-space:normal;min-width:110px}
.cxm td.cxm-n,.cxm th.cxm-n{text-align:right!important;font-variant-numeric:tabular-nums}
.cxm h4{margin:0 0 4px;font-size:11.5px;font-weight:600;color:var(--cx-dim)}</style>"""
)


def escaped(text: object, limit: int = 80) -> str:
    """:func:`~codeexec_magic.hostile_text.one_line`, ready to stand in HTML text or in a quoted attribute."""
    return html.escape(one_line(text, limit), quote=True)


def pill(kind: str, glyph: str, words: str, *, phase: float | None = None) -> str:
    """A tinted label; ``phase`` lets its pulse go on where the label it replaces had come to."""
    style = f' style="animation-delay:-{phase:.2f}s"' if phase is not None else ""
    return f'<span class="cxm-pill cxm-{kind}"><b{style}>{escaped(glyph)}</b> {escaped(words)}</span>'


def task_id(full: str) -> str:
    """Eight characters that select, and copy, as the whole id."""
    whole = escaped(full)
    return f'<code class="cxm-id" title="{whole} (click to select the whole id)">{whole}</code>'


def note(line: str) -> str:
    """A line under a card; what stands between backticks is something to type."""
    parts = escaped(line, 400).split("`")
    marked = "".join(f"<code>{part}</code>" if i % 2 else part for i, part in enumerate(parts))
    return f'<div class="cxm-note">{marked}</div>'


def frame(body: str, *, live: bool = False, attributes: str = "") -> str:
    """A card around ``body``, with everything it needs to look right by itself; no text in it counts as a formula."""
    return f'<div class="cxm {"cxm-live" if live else "cxm-card"} {NO_MATH}"{attributes}>{CSS}{body}</div>'


def seconds(value: float) -> str:
    """A time span for people: 0.4 s, 12.3 s, 4 min 05 s, 2 h 10 min."""
    if value < 59.95:
        return f"{max(0.0, value):.1f} s"
    if value < 3599.5:
        minutes, rest = divmod(round(value), 60)
        return f"{minutes} min {rest:02d} s"
    hours, rest = divmod(round(value / 60), 60)
    return f"{hours} h {rest:02d} min"


def age(value: float) -> str:
    """How old something is: 3 s, 4 min, 2 h."""
    if value < 59.5:
        return f"{max(0.0, value):.0f} s"
    return f"{value / 60:.0f} min" if value < 3570 else f"{value / 3600:.0f} h"


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th, 11th, 21st."""
    suffix = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"


def plural(number: int, noun: str) -> str:
    """1 job, 2 jobs."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def block(text: str, limit: int = 20_000) -> str:
    """:func:`~codeexec_magic.hostile_text.plain_text`, ready to stand in HTML text."""
    return html.escape(plain_text(text, limit), quote=True)
