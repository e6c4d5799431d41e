"""What a cell on another machine may put on this screen.

Output of a cell is trusted by every notebook front end: HTML, Markdown and JavaScript run with the rights of the
notebook page, which has the kernel, the files and a terminal. So nothing passes that is not known to be harmless:

- plain text passes; PNG, JPEG and GIF of bounded size; JSON of bounded size; formulas of known commands (``latex``);
- HTML keeps its tables and text formatting, links to https and embedded images (``html_clean``);
- Markdown becomes such HTML (``markdown``); SVG is written anew and becomes an image, where nothing in it can run or
  load (``svg``); a progress bar is drawn here (``progress``);
- everything else is dropped, widget views and all metadata but an image's size included;
- on request HTML keeps its styles in a sandboxed frame, where no script runs and nothing is loaded.

No text counts as a formula unless it is meant as one. What is not shown is named, with an option that shows it.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from codeexec_magic.display import html_clean, images, latex, markdown, progress, svg

#: A single value above this is not shown (characters).
MAX_VALUE: Final = 8_000_000
#: HTML above this is not shown: front ends take seconds for more (characters).
MAX_HTML: Final = 4_000_000
#: Text above this is cut.
MAX_TEXT: Final = 1_000_000
#: JSON nested deeper, or of more values, is shown as text.
MAX_DEPTH: Final = 50
MAX_VALUES: Final = 20_000
#: What all displays of one job together may cost the page.
MAX_JOB_PIXELS: Final = 800_000_000
MAX_JOB_MARKDOWN: Final = 200_000
MAX_JOB_SHAPES: Final = 200_000.0

#: Scripts, and elements that need them or a page of their own, in words that say what is missing.
_ACTIVE: Final = re.compile(r"<\s*(script|iframe|canvas|object|embed|audio|video|form|svg)\b", re.I)
_STYLED: Final = re.compile(r"<\s*(input|button|style(?!\s+scoped))\b", re.I)
_ACTIVE_NAMES: Final = {
    "audio": "an audio player",
    "video": "a video player",
    "iframe": "HTML with a frame",
    "script": "HTML that needs scripts",
    "svg": "HTML with drawings (SVG)",
}
#: With one of these, what is left in a frame of ours shows nothing.
_ONLY_TRUSTED: Final = frozenset({"audio", "video", "iframe", "canvas", "object", "embed"})
_IMAGE_URL: Final = re.compile(r"(?:src|href)=[\"'](data:[^\"']*)")
#: A text such as ``<IPython.lib.display.Audio object>`` shows nothing.
_NO_TEXT: Final = re.compile(
    r"\s*|<[\w.]+( object)?( at 0x[0-9a-f]+)?>|(alt\.\w*Chart\(\.\.\.\))|Figure\(.{0,200}\)", re.S
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
    _pixels: int = 0
    _formulas: int = 0
    _markdown_length: int = 0
    _shapes: float = 0.0

    @property
    def trusted(self) -> bool:
        """Whether nothing is sanitised."""
        return self.mode is HtmlMode.TRUST

    def bundle(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """A MIME bundle that is safe to display; it always shows something when anything was displayed."""
        if self.trusted:
            # a view could name a model of this kernel, which no worker can know of honestly
            own = _progress(data[progress.MIME]) if progress.MIME in data else {}
            return own | {str(mime): value for mime, value in data.items() if not _is_ours(str(mime))}
        kept: dict[str, Any] = {}
        left_out: list[str] = []
        for mime, value in data.items():
            if mime == "text/plain":
                kept.setdefault(mime, _cut(_text(value)))
                continue
            try:
                shown = self._shown(str(mime), value)
            except _NotShown as err:
                left_out.append(str(err) or _mime_name(mime))
                continue
            for name, safe in shown.items():
                # what a cell says of itself as text or HTML stands before what is made of other types
                if name == mime or name not in data or (name == "text/plain" and mime in _SOURCES):
                    kept[name] = safe
        if data and not set(kept) - {"text/plain"} and _NO_TEXT.fullmatch(str(kept.get("text/plain", ""))):
            names = left_out or [_mime_name(mime) for mime in data if mime != "text/plain"]
            kept["text/plain"] = (
                f"<{', '.join(sorted(set(names)))}: not shown>" if names else kept.get("text/plain", "")
            )
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

    def _shown(self, mime: str, value: Any) -> dict[str, Any]:
        """What is shown of one value of a bundle.

        Raises:
            _NotShown: nothing is; its message names what it was, and the notes say how to see it.
        """
        if mime in images.KINDS:
            return self._image(mime, value)
        if mime == "text/html":
            return self._html(_text(value))
        if mime == "text/latex":
            return self._latex(_text(value))
        if mime == "text/markdown":
            return self._markdown(_text(value))
        if mime == "image/svg+xml":
            return self._svg(_text(value))
        if mime in _CONVERTERS:
            return _CONVERTERS[mime](value)
        if mime in _SCRIPTED or mime.startswith(_SCRIPTED_PREFIXES):
            self._note(_PLOTLY if "plotly" in mime else f"a display that needs scripts was not shown: {_TRUST}")
        raise _NotShown(_mime_name(mime))

    def _html(self, text: str) -> dict[str, str]:
        frame_ = self.mode is HtmlMode.FRAME
        if len(text) > MAX_HTML:
            self._note(
                f"HTML of {len(text) / 1e6:.0f} MB was not shown: more than {MAX_HTML / 1e6:.0f} MB slow the page down"
            )
            raise _NotShown(f"HTML of {len(text) / 1e6:.0f} MB")
        try:
            cleaned = html_clean.clean_html(text, styles=frame_)
            self._count_pixels(cleaned or "")
        except html_clean.TooLarge as err:
            self._note(f"HTML was not shown: {err}")
            raise _NotShown("HTML") from None
        if cleaned is None:
            self._note("HTML was not shown: `pip install nh3`")
            return {"text/plain": _cut(html_clean.strip_tags(text))}
        says = html_clean.strip_tags(re.sub(r"<style\b.*?</style>", "", cleaned, flags=re.S | re.I))
        active = {found.lower() for found in _ACTIVE.findall(text)}
        if active:
            self._active(active, cleaned, says)
        elif not frame_ and _STYLED.search(text) and ' style="' not in cleaned:
            self._note("HTML was shown without its styles: `--html frame` shows them")
        if not frame_ and (active or _STYLED.search(text)) and not _is_table(cleaned):
            return {"text/plain": _cut(says)}  # a page taken apart reads worse than its text
        shown = frame(cleaned) if frame_ else html_clean.not_typeset(cleaned)
        return {"text/html": shown, "text/plain": _cut(says)}

    def _active(self, active: set[str], cleaned: str, says: str) -> None:
        """Note what of HTML is not shown because it needs scripts or a page of its own.

        Raises:
            _NotShown: what is left would show nothing.
        """
        what = next((words for tag, words in _ACTIVE_NAMES.items() if tag in active), "HTML that needs scripts")
        if active & _ONLY_TRUSTED or not says:
            self._note(f"{what} was not shown: {_TRUST}")
            if not _is_table(cleaned):
                raise _NotShown(what)
        elif self.mode is HtmlMode.FRAME:
            self._note(f"{what} was shown without them: {_TRUST}")
        else:
            self._note(f"{what} was not shown: `--html frame` shows it without them; {_TRUST}")

    def _latex(self, text: str) -> dict[str, str]:
        why = latex.refusal(text)
        self._formulas += len(text)
        if not why and self._formulas > latex.MAX_JOB_LENGTH:
            why = latex.TOO_MANY
        if why:
            self._note(f"a formula is shown as its source: {why}")
            return {"text/plain": _cut(text)}
        return {"text/latex": text, "text/plain": text}

    def _markdown(self, text: str) -> dict[str, str]:
        source = {"text/plain": _cut(text)}
        try:
            if self._markdown_length + len(text) > MAX_JOB_MARKDOWN:
                raise html_clean.TooLarge(f"that of a job has more than {MAX_JOB_MARKDOWN:,} characters")
            self._markdown_length += len(text)
            rendered = markdown.rendered(text, latex.MAX_JOB_LENGTH - self._formulas)
            self._count_pixels(rendered.html or "")
        except html_clean.TooLarge as err:
            rendered = markdown.Rendered(None, str(err))
        self._formulas += rendered.formulas
        if rendered.why:
            self._note(f"{'Markdown' if rendered.html is None else 'a formula'} is shown as its source: {rendered.why}")
        return source | ({"text/html": html_clean.not_typeset(rendered.html)} if rendered.html else {})

    def _svg(self, text: str) -> dict[str, str]:
        try:
            drawing = svg.cleaned(text)
            self._count_pixels(drawing.content)
            if self._shapes + drawing.cost > MAX_JOB_SHAPES:
                raise svg.Refused(f"the drawings of a job have more than {MAX_JOB_SHAPES:,.0f} shapes")
            self._shapes += drawing.cost
        except (svg.Refused, html_clean.TooLarge) as err:
            self._note(f"an SVG was not shown: {err}")
            raise _NotShown("SVG") from None
        encoded = base64.b64encode(drawing.content.encode("utf-8", "replace")).decode()
        source = f"data:image/svg+xml;base64,{encoded}"
        return {"text/html": f'<img alt="SVG image" src="{source}" style="max-width:100%">'}

    def _count_pixels(self, shown: str) -> None:
        """Count the images in HTML or in a drawing.

        Raises:
            TooLarge: the job has shown too many pixels.
        """
        more = sum(images.data_url_pixels(url) or 0 for url in _IMAGE_URL.findall(shown))
        if more and self._pixels + more > MAX_JOB_PIXELS:
            raise html_clean.TooLarge(f"the images of a job have more than {MAX_JOB_PIXELS // 1_000_000} megapixels")
        self._pixels += more

    def _image(self, mime: str, value: Any) -> dict[str, str]:
        pixels = images.pixels(mime, value) if isinstance(value, str) and len(value) <= MAX_VALUE else None
        self._pixels += pixels or 0
        if pixels is None or self._pixels > MAX_JOB_PIXELS:
            self._note(f"{_mime_name(mime)} was not shown: it is no such image, or larger than a page can bear")
            raise _NotShown(_mime_name(mime))
        return {mime: value}

    def _note(self, line: str) -> None:
        if line not in self.notes:
            self.notes.append(line)


def _is_table(cleaned: str) -> bool:
    """Whether HTML still says all it has to say: tables or images, and little around them."""
    around = re.sub(r"<table\b.*</table>", "", cleaned, flags=re.S)
    return bool(re.search(r"<(table|img)\b", cleaned)) and len(html_clean.strip_tags(around)) <= 40


def frame(cleaned: str, height: int = 360) -> str:
    """HTML in a frame of its own: no script, no network, no way out; resizable, as it cannot tell its height.

    Args:
        cleaned: what :func:`~codeexec_magic.display.html_clean.clean_html` left with its styles.
        height: in CSS pixels.
    """
    # a style sheet that could load an image could load a bomb: only img elements were looked into
    styles = "".join(re.findall(r"<style>.*?</style>|style=\"[^\"]*\"", cleaned, re.S | re.I))
    pictures = "'none'" if re.search(r"data:|\\\\", styles, re.I) else "data:"
    policy = f"default-src 'none'; style-src 'unsafe-inline'; img-src {pictures}"
    page = (
        f'<!doctype html><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}">'
        "<style>body{margin:8px;background:#fff;color:#212121;font:13px/1.45 system-ui,sans-serif}</style>" + cleaned
    )
    return (
        f'<iframe sandbox="" srcdoc="{html.escape(page, quote=True)}" title="HTML from a remote cell" '
        f'style="width:100%;height:{height}px;resize:vertical;overflow:auto;border:1px solid #8884;border-radius:6px;'
        'background:#fff"></iframe>'
    )


class _NotShown(Exception):
    """Nothing of a value is shown; the message names it."""


def _json(value: Any) -> dict[str, Any]:
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str) if _depth_within(value, MAX_DEPTH) else ""
    if not text:
        raise _NotShown("JSON nested too deep")
    plain = {"text/plain": _cut(text)}
    return plain if _values(value) > MAX_VALUES or len(text) > MAX_TEXT else {"application/json": value, **plain}


def _values(value: Any) -> int:
    """How many values there are in a JSON value."""
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return 1 + sum(map(_values, inner))


def _depth_within(value: Any, left: int) -> bool:
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else None
    return inner is None or (left > 0 and all(_depth_within(item, left - 1) for item in inner))


def _is_size(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 10_000


def _is_ours(mime: str) -> bool:
    return mime == progress.MIME or mime.startswith("application/vnd.jupyter.widget")


def _text(value: Any) -> str:
    # nbformat allows a list of lines for any text
    return "".join(map(str, value)) if isinstance(value, list) else str(value)


def _mime_name(mime: object) -> str:
    return re.sub(r"[^\w./+-]", "?", str(mime))[:60]


def _cut(text: str) -> str:
    """Text of bounded length."""
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}\n… ({len(text) - MAX_TEXT:,} more characters)"


def _progress(value: Any) -> dict[str, Any]:
    drawn = progress.progress_html(value)
    return {} if drawn is None else {"text/html": drawn}


_CONVERTERS: Final[Mapping[str, Callable[[Any], dict[str, Any]]]] = {
    "application/json": _json,
    progress.MIME: _progress,
}
#: Types of which the text is the source, which says more than the repr of an object.
_SOURCES: Final = frozenset({"text/markdown", "text/latex"})
_TRUST: Final = "`--trust` shows it, with all that it runs and loads"
#: Its HTML holds megabytes of script, more than a cell may display; this renderer's names an address instead.
_PLOTLY: Final = "a plotly figure was not shown: `--trust` with `fig.show('notebook_connected')` shows it"
#: Types that the front end runs, or hands to an extension that does.
_SCRIPTED: Final = frozenset({"application/javascript"})
_SCRIPTED_PREFIXES: Final = ("application/vnd.plotly", "application/vnd.vega", "application/vnd.bokeh")
