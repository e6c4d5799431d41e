"""Colours and formats of tables, as pandas' Styler writes them: an allow-list of CSS that can neither load nor move.

A Styler names each cell and puts the styles into a style sheet. Sheets of a cell are never shown; the rules for one
element become its ``style`` attribute, of which only known properties with plain values are left. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

#: elements that may have such styles
TAGS: Final = frozenset({"table", "caption", "td", "th"})

_SELECTOR: Final = re.compile(r"#([A-Za-z][\w-]{0,100})(?:\s+(td|th|caption))?")

_NUMBER = r"-?\d{0,5}(?:\.\d{1,8})?"
_COLOUR = (
    r"(?:#[0-9a-f]{3,8}|[a-z]{3,24}|(?:rgb|rgba|hsl|hsla)\(\s*"
    rf"{_NUMBER}%?(?:\s*[,/ ]\s*{_NUMBER}%?){{2,3}}\s*\))"
)
_STOP = rf"{_COLOUR}(?:\s+{_NUMBER}%){{0,2}}"
_LENGTH = r"\d{1,3}(?:\.\d{1,4})?(?:px|em|ex|pt|%)"
_KEYWORDS: Final = {
    "font-weight": "normal|bold|bolder|lighter|[1-9]00",
    "font-style": "normal|italic|oblique",
    "text-align": "left|right|center|justify|start|end",
    "vertical-align": "top|middle|bottom|baseline",
    "text-decoration": "none|underline|line-through|overline",
    "text-transform": "none|uppercase|lowercase|capitalize",
    "white-space": "normal|nowrap|pre|pre-wrap|pre-line",
    "caption-side": "top|bottom",
    "border-style": "none|solid|dashed|dotted|double",
}
_BORDER = rf"(?:(?:{_LENGTH}|0|thin|medium|thick|none|solid|dashed|dotted|double|{_COLOUR})(?:\s+|$)){{1,3}}"
_VALUES: Final[Mapping[str, re.Pattern[str]]] = {
    **{name: re.compile(words) for name, words in _KEYWORDS.items()},
    "color": re.compile(_COLOUR),
    "background-color": re.compile(_COLOUR),
    "background": re.compile(rf"{_COLOUR}|linear-gradient\(\s*\d{{1,3}}deg(?:\s*,\s*{_STOP}){{1,12}}\s*\)"),
    "width": re.compile(_LENGTH),
    "min-width": re.compile(_LENGTH),
    "font-size": re.compile(
        r"(?:[6-9]|[1-3]\d)(?:\.\d+)?(?:px|pt)|[5-9]\d%|1\d\d%|[01]?\.\d+em|[12](?:\.\d+)?em|small|large"
    ),
    "border-color": re.compile(_COLOUR),
    "border-width": re.compile(_LENGTH),
    **{f"border{side}": re.compile(_BORDER) for side in ("", "-top", "-bottom", "-left", "-right")},
}
#: values longer than this are dropped before any pattern reads them
_LONGEST: Final = 400


@dataclass
class Rules:
    """What a style sheet says of single elements, and of all elements of a kind."""

    by_id: dict[str, Mapping[str, str]] = field(default_factory=dict)
    by_tag: dict[str, Mapping[str, str]] = field(default_factory=dict)

    def of(self, tag: str, name: str, own: str) -> str:
        """The declarations for an element; the later ones hold.

        Args:
            tag: the element.
            name: its id.
            own: its ``style`` attribute.
        """
        if tag not in TAGS:
            return ""
        return _written({**self.by_tag.get(tag, {}), **self.by_id.get(name, {}), **_known(own)})

    def add(self, selector: str, kept: Mapping[str, str]) -> None:
        """Take over what one rule says; each element keeps each property once, however many rules name it."""
        named = _SELECTOR.fullmatch(selector.strip())
        if named is not None:
            place, key = (self.by_tag, named[2]) if named[2] else (self.by_id, named[1])
            # rules for many elements share what they say until a second rule names the element
            place[key] = {**place[key], **kept} if key in place else kept

    def __bool__(self) -> bool:
        return bool(self.by_id or self.by_tag)


def rules(text: str) -> Rules:
    """The rules of the style sheets in HTML that name an element by its id."""
    found = Rules()
    for sheet in _sheets(text):
        for rule in _without_comments(sheet).split("}"):
            selectors, brace, block = rule.rpartition("{")
            kept = _known(block) if brace else {}
            for selector in selectors.split(",") if kept else ():
                found.add(selector, kept)
    return found


# Plain searches: a pattern that looks for an end which is not there would read the rest of a text again and again.


def _sheets(text: str) -> list[str]:
    found, small, position = [], text.lower(), 0
    while (start := small.find("<style", position)) >= 0:
        begin, end = small.find(">", start), small.find("</style", start)
        if not 0 <= begin < end:
            break
        found.append(text[begin + 1 : end])
        position = end
    return found


def _without_comments(sheet: str) -> str:
    kept, position = [], 0
    while (start := sheet.find("/*", position)) >= 0:
        kept.append(sheet[position:start])
        end = sheet.find("*/", start + 2)
        if end < 0:
            return "".join(kept)
        position = end + 2
    return "".join([*kept, sheet[position:]])


def declarations(css: str) -> str:
    """The declarations of a list that are known, each property once, with the value that holds."""
    return _written(_known(css))


def _known(css: str) -> dict[str, str]:
    kept: dict[str, str] = {}
    for part in css.split(";"):
        name, colon, value = part.partition(":")
        name, value = name.strip().lower(), " ".join(value.lower().replace("!important", "").split())
        pattern = _VALUES.get(name)
        if colon and pattern is not None and len(value) <= _LONGEST and pattern.fullmatch(value):
            kept[name] = value
    return kept


def _written(kept: Mapping[str, str]) -> str:
    return ";".join(f"{name}:{value}" for name, value in kept.items())
