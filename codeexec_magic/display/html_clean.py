"""HTML of a cell without anything that runs, loads, submits or covers, and of bounded size. Pure.

Two passes. The first one reads tags and writes them anew, balanced, with known attributes only: a browser's parser,
and nh3's, repair unbalanced markup by repeating elements, with which a few kilobytes become millions. The second one
is nh3, a parser of HTML5 and an allow-list: it is the guard. What it returns is marked not to be typeset as formulas.

HTML for a frame keeps its styles as well: the frame is a page of its own, which they cannot leave.
"""

from __future__ import annotations

import html
import math
import re
from collections import Counter
from collections.abc import Mapping
from typing import Final

from codeexec_magic.display import images, table_styles

#: HTML of more elements, or nested deeper, is not shown: pages with more are slow.
MAX_ELEMENTS: Final = 100_000
MAX_DEPTH: Final = 120
#: Tables whose cells span more, in columns times rows and over all tables together, are not shown: a browser lays each
#: of these out.
MAX_SPANNED: Final = 200_000
#: JupyterLab (MathJax 3 and 4) and nbconvert (MathJax 2) leave out what has these classes.
NO_MATH: Final = "mathjax_ignore tex2jax_ignore"
#: And typeset what has these, inside of such an element.
MATH: Final = "mathjax_process tex2jax_process"

TAGS: Final = frozenset(
    """a abbr b big blockquote br caption center cite code col colgroup dd del details dfn div dl dt em figcaption
    figure font h1 h2 h3 h4 h5 h6 hr i img ins kbd li mark ol p pre q s samp small span strike strong sub summary sup
    table tbody td tfoot th thead tr tt u ul var wbr""".split()  # noqa: SIM905, one line per tag would hide the list
)
ATTRIBUTES: Final = {
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
#: Tables keep their colours: ``table_styles`` says which styles these are.
_STYLED_ATTRIBUTES: Final = {
    **ATTRIBUTES,
    **{tag: ATTRIBUTES.get(tag, set()) | {"style"} for tag in table_styles.TAGS},
}
#: What HTML in a frame may have besides.
FRAME_TAGS: Final = TAGS | frozenset(
    {"style", "label", "input", "section", "article", "header", "footer", "main", "nav", "aside"}
)
FRAME_ATTRIBUTES: Final = {
    **ATTRIBUTES,
    "*": ATTRIBUTES["*"] | {"class", "id", "style", "role", "tabindex"},
    "table": {"border"},
    "label": {"for"},
    "input": {"type", "checked"},
}
_VOID: Final = frozenset({"br", "col", "hr", "img", "wbr", "input"})
#: Elements whose content is no text to show.
_DROPPED: Final = frozenset(
    """script style title template noscript iframe object svg math textarea select xmp noembed noframes audio video
    canvas embed applet head""".split()  # noqa: SIM905
)
_OPENING: Final = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9:-]{0,40})(?=[\s/>])|<!--|<[!?]")
_QUOTE_OR_END: Final = re.compile(r"[\"'>]")
_ATTRIBUTE: Final = re.compile(r"([a-zA-Z][\w:-]{0,40})(?:\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'<>`=]+)))?")
#: An element that begins ends these, if they are the innermost ones.
_ENDS: Final = {
    **dict.fromkeys(
        """p div table ul ol dl pre blockquote h1 h2 h3 h4 h5 h6 hr figure center details""".split(),  # noqa: SIM905
        ("p",),
    ),
    "li": ("li", "p"),
    "dt": ("dt", "dd", "p"),
    "dd": ("dt", "dd", "p"),
    "td": ("td", "th", "p"),
    "th": ("td", "th", "p"),
    "tr": ("td", "th", "tr", "p"),
    "tbody": ("td", "th", "tr", "tbody", "thead", "caption", "colgroup"),
    "thead": ("caption", "colgroup"),
    "tfoot": ("td", "th", "tr", "tbody"),
}
_SPAN: Final = re.compile(r"\d{1,4}")


class TooLarge(ValueError):
    """The HTML is not shown; the message says why."""


def clean_html(text: str, *, styles: bool = False) -> str | None:
    """The harmless part of HTML; None when nh3 is not installed.

    Args:
        text: HTML.
        styles: keep style sheets, classes and inputs, as a frame may have them.

    Raises:
        TooLarge: it has too many elements, or nests them too deep.
    """
    try:
        import nh3
    except ImportError:
        return None
    return str(
        nh3.clean(
            balanced(text, styles=styles),
            tags=set(FRAME_TAGS if styles else TAGS),
            clean_content_tags=set(_DROPPED) - {"head", "style"} if styles else set(_DROPPED) - {"head"},
            attributes=FRAME_ATTRIBUTES if styles else _STYLED_ATTRIBUTES,
            attribute_filter=_frame_attribute if styles else _attribute,
            url_schemes={"https", "data"},
        )
    )


def not_typeset(cleaned: str) -> str:
    """HTML in an element in which no text counts as a formula."""
    return f'<div class="{NO_MATH}">{cleaned}</div>'


def strip_tags(text: str) -> str:
    """The text of HTML."""
    return html.unescape(re.sub(r"<[^>]*>", "", text)).strip()


def balanced(text: str, *, styles: bool = False) -> str:
    """The tags and the text of HTML, with every element ended where it must be.

    Args:
        text: HTML.
        styles: as in :func:`clean_html`.

    Raises:
        TooLarge: it has too many elements, or nests them too deep.
    """
    return _Writer(text, styles=styles).write()


class _Writer:
    def __init__(self, text: str, *, styles: bool) -> None:
        self._text = text
        self._styles = styles
        self._tags, self._attributes = (FRAME_TAGS, FRAME_ATTRIBUTES) if styles else (TAGS, ATTRIBUTES)
        self._rules = table_styles.Rules() if styles else table_styles.rules(text)
        self._out: list[str] = []
        self._open: list[str] = []
        #: how many of each are open
        self._opened: Counter[str] = Counter()
        self._count = self._spanned = 0
        #: elements of which no end stands in the rest of the text: to look for it again would read it again each time
        self._endless: set[str] = set()

    def write(self) -> str:
        text, position = self._text, 0
        while found := _OPENING.search(text, position):
            self._write_text(text[position : found.start()])
            if found[2] is None:
                end = text.find("-->" if found[0] == "<!--" else ">", found.end() - 2)
                position = len(text) if end < 0 else end + (3 if found[0] == "<!--" else 1)
                continue
            end = _end_of_tag(text, found.end())
            if end < 0:
                position = len(text)  # a browser drops a tag that never ends, too
                break
            position = self._tag(found[1] == "/", found[2].lower(), text[found.end() : end], end + 1)
        self._write_text(text[position:])
        self._close(0)
        return "".join(self._out)

    def _write_text(self, text: str) -> None:
        # entities stay as they are; a < that begins no tag is text
        self._out.append(text.replace("<", "&lt;").replace(">", "&gt;"))

    def _tag(self, ends: bool, name: str, attributes: str, position: int) -> int:
        """Write a tag; where reading goes on."""
        if name in _DROPPED and not ends:
            if name == "style" and self._styles:
                return self._style(position)
            end = self._end_of_element(name, position)
            if end is None:
                return position if name in ("embed", "head") else len(self._text)
            return end
        if name not in self._tags:
            return position
        if ends:
            if self._opened[name]:
                self._close(len(self._open) - 1 - self._open[::-1].index(name))
            return position
        self._begin(name, attributes)
        return position

    def _end_of_element(self, name: str, position: int) -> int | None:
        """Where the end tag of an element stands whose content is dropped or copied; None if it is nowhere."""
        if name in self._endless:
            return None
        found = re.compile(rf"</{re.escape(name)}[\s/>]", re.I).search(self._text, position)
        if found is None:
            self._endless.add(name)
            return None
        return found.start()

    def _style(self, position: int) -> int:
        self._counted()
        end = self._end_of_element("style", position)
        if end is None:
            return len(self._text)  # as a browser reads it
        # as text of an element that holds no tags, it ends at the first one
        self._out.append(f"<style>{self._text[position:end].replace('<', ' ')}</style>")
        return end

    def _counted(self) -> None:
        self._count += 1
        if self._count > MAX_ELEMENTS:
            raise TooLarge(f"it has more than {MAX_ELEMENTS:,} elements")

    def _begin(self, name: str, attributes: str) -> None:
        while self._open and self._open[-1] in _ENDS.get(name, ()):
            self._close(len(self._open) - 1)
        self._counted()
        if len(self._open) >= MAX_DEPTH:
            raise TooLarge(f"it nests elements deeper than {MAX_DEPTH}")
        self._out.append(f"<{name}{''.join(self._kept(name, attributes))}>")
        if name not in _VOID:
            self._open.append(name)
            self._opened[name] += 1

    def _kept(self, tag: str, text: str) -> list[str]:
        """The known attributes of a tag."""
        known = self._attributes["*"] | self._attributes.get(tag, set())
        given: dict[str, str] = {}
        for found in _ATTRIBUTE.finditer(text) if text.strip() else ():
            name = found[1].lower()
            if name not in given:
                given[name] = html.unescape(next((part for part in found.groups()[1:] if part is not None), ""))
        kept = {name: value for name, value in given.items() if name in known}
        self._count_spanned(tag, kept)
        if not self._styles and (style := self._rules.of(tag, given.get("id", ""), given.get("style", ""))):
            kept["style"] = style
        return [f' {name}="{html.escape(value, quote=True)}"' for name, value in kept.items()]

    def _count_spanned(self, tag: str, attributes: Mapping[str, str]) -> None:
        if tag in ("td", "th", "col", "colgroup"):
            sides = [attributes.get(name, "") for name in ("colspan", "rowspan", "span")]
            self._spanned += math.prod(int(side) for side in sides if _is_span(side))
            if self._spanned > MAX_SPANNED:
                raise TooLarge(f"the cells of its tables span more than {MAX_SPANNED:,} columns and rows")

    def _close(self, depth: int) -> None:
        while len(self._open) > depth:
            name = self._open.pop()
            self._opened[name] -= 1
            self._out.append(f"</{name}>")


def _end_of_tag(text: str, position: int) -> int:
    """Where the ``>`` of a tag stands, outside of quotes; -1 if it never ends."""
    while found := _QUOTE_OR_END.search(text, position):
        if found[0] == ">":
            return found.start()
        end = text.find(found[0], found.end())
        if end < 0:
            return -1
        position = end + 1
    return -1


def _attribute(tag: str, name: str, value: str) -> str | None:
    """What of an attribute passes nh3."""
    if tag == "a" and name == "href":
        return value if value.lower().startswith("https://") and len(value) <= 2000 else None
    if tag == "img" and name == "src":
        return value if images.data_url_pixels(value) is not None else None
    if name == "style":
        return table_styles.declarations(value) or None
    if name == "class":
        return "dataframe" if "dataframe" in value.split() else None
    if name == "start":
        return value if _SPAN.fullmatch(value) else None
    if name in ("colspan", "rowspan", "span"):
        return value if _is_span(value) else None
    if name in ("width", "height"):
        return value if _SPAN.fullmatch(value) else None
    if name == "dir":
        return value if value in ("ltr", "rtl", "auto") else None
    return value[:400]


def _is_span(value: str) -> bool:
    """Whether this is a number of columns or rows that may pass; zero rows would be all that follow."""
    return bool(_SPAN.fullmatch(value)) and 1 <= int(value) <= 1000


def _frame_attribute(tag: str, name: str, value: str) -> str | None:
    """The same in a frame, where classes, names and styles are the cell's own."""
    if name in ("class", "id", "for", "role", "tabindex", "style"):
        return value[:2000]
    if tag == "input" and name == "type":
        return value if value in ("checkbox", "radio") else None
    return _attribute(tag, name, value)
