"""What a cell on another machine may put on this screen.

Output of a cell is trusted by every notebook front end: HTML, Markdown and JavaScript run with the rights of the
notebook page, which has the kernel, the files and a terminal. So nothing passes that is not known to be harmless:

- plain text, PNG, JPEG, GIF, JSON, and LaTeX without commands that link or style, pass as they are;
- HTML keeps its tables and text formatting (nh3), links to https and embedded images; no script, style, form or frame;
- Markdown becomes such HTML; SVG becomes an image, where nothing in it can run or load; a progress bar is drawn here;
- everything else is dropped, widget views and all metadata but an image's size included;
- on request HTML goes whole into a sandboxed frame, where no script runs and nothing is loaded.
"""

from __future__ import annotations

import base64
import binascii
import html
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from codeexec_magic.display import progress

#: a single value above this is not shown (bytes of text)
MAX_VALUE: Final = 8_000_000
#: JSON nested deeper than this is shown as text
MAX_DEPTH: Final = 50

_IMAGES: Final = {"image/png": b"\x89PNG\r\n\x1a\n", "image/jpeg": b"\xff\xd8\xff", "image/gif": b"GIF8"}
_TAGS: Final = frozenset(
    """a abbr b big blockquote br caption center cite code col colgroup dd del details dfn div dl dt em figcaption
    figure font h1 h2 h3 h4 h5 h6 hr i img ins kbd li mark ol p pre q s samp small span strike strong sub summary sup
    table tbody td tfoot th thead tr tt u ul var wbr""".split()  # noqa: SIM905, one line per tag would hide the list
)
_ATTRIBUTES: Final = {
    "*": {"title", "lang", "dir", "align"},
    "a": {"href"},
    "col": {"span"},
    "colgroup": {"span"},
    "details": {"open"},
    "font": {"color"},
    "img": {"src", "alt", "width", "height"},
    "ol": {"start"},
    "table": {"border", "class"},
    "td": {"colspan", "rowspan", "valign"},
    "th": {"colspan", "rowspan", "scope", "valign"},
}
_DATA_IMAGE: Final = re.compile(r"data:image/(png|jpeg|gif|webp);base64,", re.I)
#: HTML that is nothing without what cleaning takes away; pandas' own scoped style is not missed
_LEANS_ON: Final = re.compile(r"<\s*(script|svg|canvas|iframe|form|input|button|style(?!\s+scoped))\b", re.I)
#: commands with which MathJax may link, style or load
_LATEX_UNSAFE: Final = re.compile(
    r"\\\s*(href|url|style|class|cssId|data|html\w*|mmlToken|csname|require|unicode|bbox|includegraphics)\b", re.I
)


class HtmlMode(StrEnum):
    """How HTML from a cell is shown."""

    CLEAN = "clean"  #: only what cannot do harm
    FRAME = "frame"  #: whole, in a frame without scripts and without network
    TRUST = "trust"  #: as it is: for one's own workers


@dataclass
class Policy:
    """Applies the rules, and remembers what the user should be told about it."""

    mode: HtmlMode = HtmlMode.CLEAN
    #: lines for the card: what was left out and how to see it
    notes: list[str] = field(default_factory=list)

    @property
    def trusted(self) -> bool:
        """Whether nothing is sanitised."""
        return self.mode is HtmlMode.TRUST

    def bundle(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """A MIME bundle that is safe to display; ``text/plain`` is always there when anything was."""
        if self.trusted:
            # a view could name a model of this kernel, which no worker can know of honestly
            own = _progress(data[progress.MIME]) if progress.MIME in data else {}
            return own | {str(mime): value for mime, value in data.items() if not _is_ours(str(mime))}
        kept: dict[str, Any] = {}
        for mime, value in data.items():
            if mime == "text/plain":
                kept.setdefault(mime, _text(value))
            elif mime in _IMAGES:
                kept |= _image(mime, value)
            elif mime == "text/html":
                kept |= self._html(_text(value), "text/plain" in data)
            elif mime in _CONVERTERS:
                for name, safe in _CONVERTERS[mime](value).items():
                    # what a cell says of itself as text or HTML stands before what is made of other types
                    if name == mime or name not in data or (name == "text/plain" and mime == "text/markdown"):
                        kept[name] = safe
        if not kept and data:
            kept["text/plain"] = f"<{', '.join(sorted(map(_mime_name, data)))}: not shown>"
        return kept

    def metadata(self, data: Mapping[str, Any], metadata: Any) -> dict[str, Any]:
        """Only the size of images; ``isolated`` for instance is a frame without any boundary."""
        if self.trusted:
            return dict(metadata) if isinstance(metadata, Mapping) else {}
        kept: dict[str, Any] = {}
        for mime in data:
            told = metadata.get(mime) if isinstance(metadata, Mapping) and mime.startswith("image/") else None
            if isinstance(told, Mapping):
                size = {side: told[side] for side in ("width", "height") if _is_size(told.get(side))}
                if size:
                    kept[mime] = size
        return kept

    def _html(self, text: str, has_text: bool) -> dict[str, str]:
        if len(text) > MAX_VALUE:
            self._note(f"HTML of {len(text) / 1e6:.0f} MB was not shown")
            return {} if has_text else {"text/plain": "<text/html: too large>"}
        if self.mode is HtmlMode.FRAME:
            return {"text/html": frame(text)}
        cleaned = clean_html(text)
        if cleaned is None:
            self._note("HTML was not shown: `pip install nh3`")
            return {} if has_text else {"text/plain": _strip_tags(text)}
        if _LEANS_ON.search(text):
            self._note("HTML was shown without its styles and scripts: `--html frame` or `--trust` shows them")
            if has_text and not _is_table(cleaned):
                return {}  # a page taken apart reads worse than the text
        plain = {} if has_text else {"text/plain": _strip_tags(cleaned)}
        return {"text/html": cleaned, **plain} if cleaned.strip() else plain

    def _note(self, line: str) -> None:
        if line not in self.notes:
            self.notes.append(line)


def _is_table(cleaned: str) -> bool:
    """Whether HTML still says all it has to say: tables or images, and little around them."""
    around = re.sub(r"<table\b.*</table>", "", cleaned, flags=re.S)
    return bool(re.search(r"<(table|img)\b", cleaned)) and len(_strip_tags(around)) <= 40


def clean_html(text: str) -> str | None:
    """HTML without anything that runs, loads, styles or submits; None when nh3 is not installed."""
    try:
        import nh3
    except ImportError:
        return None
    return str(
        nh3.clean(
            text,
            tags=set(_TAGS),
            clean_content_tags={"script", "style", "title", "template", "noscript", "iframe", "object", "svg", "math"},
            attributes=_ATTRIBUTES,
            attribute_filter=_attribute,
            url_schemes={"https", "data"},
        )
    )


def _attribute(tag: str, name: str, value: str) -> str | None:
    if tag == "img" and name == "src":
        return value if _DATA_IMAGE.match(value) else None
    if tag == "a" and name == "href":
        return value if value.lower().startswith("https://") else None
    if name == "class":
        return "dataframe" if "dataframe" in value.split() else None
    return value


def frame(text: str, height: int = 360) -> str:
    """HTML in a frame of its own: no script, no network, no way out; resizable, as it cannot tell its height."""
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:"
    page = (
        f'<!doctype html><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}">'
        "<style>body{margin:8px;background:#fff;color:#212121;font:13px/1.45 system-ui,sans-serif}</style>" + text
    )
    return (
        f'<iframe sandbox="" srcdoc="{html.escape(page, quote=True)}" title="HTML from a remote cell" '
        f'style="width:100%;height:{height}px;resize:vertical;overflow:auto;border:1px solid #8884;border-radius:6px;'
        'background:#fff"></iframe>'
    )


def _image(mime: str, value: Any) -> dict[str, str]:
    if not isinstance(value, str) or len(value) > MAX_VALUE:
        return {}
    try:
        content = base64.b64decode("".join(value.split()), validate=True)
    except (binascii.Error, ValueError):
        return {}
    return {mime: value} if content.startswith(_IMAGES[mime]) else {}


def _svg(value: Any) -> dict[str, str]:
    text = _text(value)
    if len(text) > MAX_VALUE:
        return {}
    encoded = base64.b64encode(text.encode("utf-8", "replace")).decode()
    return {"text/html": f'<img alt="SVG image" src="data:image/svg+xml;base64,{encoded}" style="max-width:100%">'}


def _markdown(value: Any) -> dict[str, str]:
    """Rendered where mistune is at hand, as it is wherever nbconvert is; else its source, which is made to be read."""
    text = _text(value)
    try:
        import mistune
    except ImportError:
        return {"text/plain": text}
    if len(text) > 1_000_000:
        return {"text/plain": text}
    rendered = clean_html(str(mistune.html(text)))
    return {"text/plain": text, **({"text/html": rendered} if rendered else {})}


def _latex(value: Any) -> dict[str, str]:
    text = _text(value)
    return {} if _LATEX_UNSAFE.search(text) or len(text) > 200_000 else {"text/latex": text}


def _json(value: Any) -> dict[str, Any]:
    return {"application/json": value} if _depth_within(value, MAX_DEPTH) else {}


def _depth_within(value: Any, left: int) -> bool:
    if isinstance(value, Mapping):
        return left > 0 and all(_depth_within(item, left - 1) for item in value.values())
    if isinstance(value, list):
        return left > 0 and all(_depth_within(item, left - 1) for item in value)
    return True


def _is_size(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 10_000


def _is_ours(mime: str) -> bool:
    return mime == progress.MIME or mime.startswith("application/vnd.jupyter.widget")


def _text(value: Any) -> str:
    # nbformat allows a list of lines for any text
    return "".join(map(str, value)) if isinstance(value, list) else str(value)


def _mime_name(mime: object) -> str:
    return re.sub(r"[^\w./+-]", "?", str(mime))[:60]


def _strip_tags(text: str) -> str:
    return html.unescape(re.sub(r"<[^>]*>", "", text)).strip()


def _progress(value: Any) -> dict[str, Any]:
    drawn = progress.progress_html(value)
    return {} if drawn is None else {"text/html": drawn}


_CONVERTERS: Final[Mapping[str, Callable[[Any], dict[str, Any]]]] = {
    "image/svg+xml": _svg,
    "text/markdown": _markdown,
    "text/latex": _latex,
    "application/json": _json,
    progress.MIME: _progress,
}
