"""An SVG of a cell, written anew from an allow-list of elements and attributes, if drawing it costs little. Pure.

A browser draws it as an image, where no script runs and nothing is loaded. What is left to fear is what drawing costs:
a few kilobytes of nested references are a hundred million shapes. So the shapes are counted after all references are
followed, and what hides its cost (filters, animations, foreign content) is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from codeexec_magic.display import images

#: The text of an SVG may be so long (characters).
MAX_LENGTH: Final = 4_000_000
#: So many elements may stand in it, so deep.
MAX_ELEMENTS: Final = 60_000
MAX_DEPTH: Final = 60
#: What drawing may cost; a simple shape costs 1.
MAX_COST: Final = 60_000
#: So many rules of a style sheet are kept.
MAX_RULES: Final = 300
#: The sides of the picture (CSS pixels).
MAX_SIDE: Final = 20_000.0

_SVG: Final = "http://www.w3.org/2000/svg"
_XLINK: Final = "http://www.w3.org/1999/xlink"
#: What drawing one element costs, without what it contains.
_COSTS: Final = {
    **dict.fromkeys(("svg", "g", "defs", "symbol", "title", "desc", "stop", "style", "tspan", "clipPath"), 0),
    **dict.fromkeys(("path", "rect", "circle", "ellipse", "line", "polyline", "polygon", "use", "text"), 1),
    **dict.fromkeys(("linearGradient", "radialGradient", "marker", "pattern", "mask"), 1),
    "image": 10,
}
#: The attributes that say how long the lines of a shape are.
_LINES: Final = ("d", "points", "x1", "y1", "x2", "y2", "r", "rx", "ry", "width", "height", "pathLength", "x", "y")
#: What drawing one dash costs.
_DASH_COST: Final = 0.02
_MARKED: Final = frozenset({"path", "line", "polyline", "polygon", "marker"})
#: Elements whose content is left out with them. Of all other unknown elements only the tag is left out.
_DROPPED: Final = frozenset(
    """script foreignObject filter animate animateMotion animateTransform animateColor set iframe audio video canvas
    metadata font font-face handler listener image-set mesh hatch""".split()  # noqa: SIM905
)
_NUMBERS: Final = frozenset(
    """x y x1 y1 x2 y2 cx cy r rx ry fx fy fr dx dy width height viewBox points d offset transform gradientTransform
    rotate textLength markerWidth markerHeight refX refY pathLength""".split()  # noqa: SIM905
)
_STYLES: Final = frozenset(
    """fill fill-opacity fill-rule stroke stroke-width stroke-opacity stroke-linecap stroke-linejoin stroke-miterlimit
    stroke-dasharray stroke-dashoffset opacity color stop-color stop-opacity clip-path clip-rule mask marker
    marker-start marker-mid marker-end font font-family font-size font-style font-weight font-variant font-stretch
    text-anchor text-decoration dominant-baseline alignment-baseline baseline-shift letter-spacing word-spacing
    visibility display overflow vector-effect paint-order shape-rendering text-rendering image-rendering
    white-space writing-mode""".split()  # noqa: SIM905
)
_OTHERS: Final = frozenset(
    """id class version preserveAspectRatio gradientUnits spreadMethod clipPathUnits maskUnits maskContentUnits
    patternUnits patternContentUnits markerUnits orient lengthAdjust type""".split()  # noqa: SIM905
)
_NUMBER: Final = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_REFERENCE: Final = re.compile(r"url\(\s*['\"]?#([^'\")\s]{1,200})['\"]?\s*\)")
_COMPOUND = r"(?:\*|[\w-]+)?(?:[.#][\w-]+){0,4}"
_SELECTOR: Final = re.compile(rf"(?=\S){_COMPOUND}(?:\s+(?:>\s*)?(?=[\w*.#]){_COMPOUND}){{0,3}}")
_LENGTH: Final = re.compile(r"\s*([0-9.]+(?:e[-+]?\d+)?)\s*(px|pt|pc|in|cm|mm|em|ex|)\s*\Z", re.I)
_PIXELS: Final = {"": 1, "px": 1, "pt": 4 / 3, "pc": 16, "in": 96, "cm": 37.8, "mm": 3.78, "em": 16, "ex": 8}


class Refused(ValueError):
    """The SVG is not drawn; the message says why."""


@dataclass(frozen=True)
class Drawing:
    """An SVG that may be drawn."""

    content: str
    #: what drawing it costs, in simple shapes
    cost: float


def cleaned(text: str) -> Drawing:
    """The SVG with what is known to be harmless and cheap.

    Raises:
        Refused: it is no SVG, or costs too much to draw.
    """
    if len(text) > MAX_LENGTH:
        raise Refused(f"it is longer than {MAX_LENGTH // 1_000_000} MB")
    root = _Parser().parse(text)
    _check_size(root)
    cost = _Cost(root).total()
    if cost > MAX_COST:
        raise Refused(f"drawing it takes more than {MAX_COST:,} shapes")
    return Drawing("".join(_written(root, top=True)), cost)


@dataclass
class _Element:
    tag: str
    attributes: dict[str, str]
    depth: int
    children: list[_Element | str] = field(default_factory=list)
    #: ids of what it draws (``href``), and of what it paints with (``url(#…)``)
    draws: list[str] = field(default_factory=list)
    paints: list[str] = field(default_factory=list)
    cost: float = 0.0
    #: dashes per pixel of what is drawn in it
    dashes: float = 0.0


class _Parser:
    """Reads XML without entities of its own, and keeps what is on the lists."""

    def __init__(self) -> None:
        self._open: list[_Element] = []
        self._root: _Element | None = None
        self._count = 0
        #: how many elements are open inside of one that is dropped
        self._muted = 0
        self._seen: list[bool] = []

    def parse(self, text: str) -> _Element:
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.EntityDeclHandler = self._entity
        try:
            # what a string holds is UTF-8 here, whatever its declaration says
            parser.Parse(re.sub(r"^\s*<\?xml[^>]{0,200}\?>", "", text).encode("utf-8", "replace"), True)
        except expat.ExpatError as err:
            raise Refused(f"it is not well-formed XML ({err})") from None
        if self._root is None:
            raise Refused("it has no svg element")
        return self._root

    def _entity(self, *_: object) -> None:
        raise Refused("it declares entities")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._count += 1
        if self._count > MAX_ELEMENTS or len(self._seen) >= MAX_DEPTH * 2:
            raise Refused(f"it has more than {MAX_ELEMENTS:,} elements, or nests them too deep")
        namespace, _, tag = name.rpartition(" ")
        known = namespace in (_SVG, "") and tag in _COSTS
        if self._muted or (not known and (tag in _DROPPED or namespace not in (_SVG, ""))):
            self._muted += 1
            self._seen.append(False)
            return
        self._seen.append(known)
        if not known:
            return
        element = _Element(tag, {}, len(self._open))
        if element.depth >= MAX_DEPTH:
            raise Refused(f"it nests elements deeper than {MAX_DEPTH}")
        _keep_attributes(element, attributes)
        if self._open:
            self._open[-1].children.append(element)
        elif tag == "svg" and self._root is None:
            self._root = element
        else:
            raise Refused("it does not begin with an svg element")
        self._open.append(element)

    def _end(self, _: str) -> None:
        if self._seen.pop():
            self._open.pop()
        elif self._muted:
            self._muted -= 1

    def _text(self, text: str) -> None:
        if self._open and not self._muted and self._open[-1].tag in ("text", "tspan", "title", "desc", "style"):
            self._open[-1].children.append(text)


def _keep_attributes(element: _Element, attributes: dict[str, str]) -> None:
    for name, value in attributes.items():
        namespace, _, plain = name.rpartition(" ")
        if plain == "href" and namespace in ("", _XLINK):
            _keep_reference(element, value)
        elif namespace:
            continue
        elif plain in _NUMBERS:
            _check_numbers(value)
            element.attributes[plain] = value
        elif plain == "style":
            if kept := ";".join(_declarations(element, value, urls=True)):
                element.attributes["style"] = kept
        elif plain in _STYLES:
            if kept := ";".join(_declarations(element, f"{plain}:{value}", urls=True)):
                element.attributes[plain] = kept.partition(":")[2]
        elif plain in _OTHERS:
            element.attributes[plain] = value


def _keep_reference(element: _Element, value: str) -> None:
    if value.startswith("#"):
        element.draws.append(value[1:])
        element.attributes["href"] = value
    elif element.tag == "image":
        pixels = images.data_url_pixels(value)
        if pixels is None:
            raise Refused("it contains an image that is none, is not in it, or is too large")
        element.cost += pixels / 20_000
        element.attributes["href"] = value


def _check_numbers(value: str) -> None:
    for found in _NUMBER.finditer(value):
        if abs(float(found[0])) > 1e7:
            raise Refused("it has coordinates beyond 10,000,000")


def _declarations(element: _Element | None, style: str, *, urls: bool) -> Iterator[str]:
    """The declarations of a style that are on the list, with references to the same SVG only."""
    for part in style.split(";"):
        name, _, value = part.partition(":")
        name, value = name.strip().lower(), value.replace("!important", "").strip()
        bare = _REFERENCE.sub("", value) if urls else value
        if (
            name not in _STYLES
            or not value
            or len(value) > 1000
            or re.search(r"[\\@<>{}]|url|image|/\*|var\(", bare, re.I)
        ):
            continue
        _check_numbers(bare)
        if element is not None:
            if name.startswith("marker") and element.tag not in _MARKED:
                continue
            element.paints += _REFERENCE.findall(value)
            if name == "stroke-dasharray" and value != "none":
                element.dashes = max(element.dashes, _dashes(value))
            if name == "opacity" and element.tag in ("g", "svg", "use", "symbol", "text") and value not in ("1", "1.0"):
                element.cost += 20
        yield f"{name}:{value}"


def _dashes(value: str) -> float:
    """Dashes are shapes, too: so many are drawn on a pixel of a line."""
    numbers = [abs(float(found)) for found in _NUMBER.findall(value)]
    if sum(numbers) < 0.1:
        raise Refused("it has dashes shorter than a tenth of a pixel")
    return len(numbers) / sum(numbers)


class _Cost:
    """Counts shapes after all references are followed."""

    def __init__(self, root: _Element) -> None:
        self._root = root
        self._by_id: dict[str, _Element] = {}
        #: by element, the cost and the length of all lines (pixels)
        self._known: dict[int, tuple[float, float]] = {}
        self._open: set[int] = set()
        for element in _all(root):
            if "id" in element.attributes:
                self._by_id.setdefault(element.attributes["id"], element)

    def total(self) -> float:
        return self._of(self._root, 0)[0]

    def _of(self, element: _Element, chain: int) -> tuple[float, float]:
        key = id(element)
        if key in self._known:
            return self._known[key]
        if key in self._open or chain > 300:
            raise Refused("it refers to itself, or through too many others")
        self._open.add(key)
        cost = _COSTS[element.tag] + element.cost + sum(len(v) for v in element.attributes.values()) / 2000
        cost += sum(len(child) for child in element.children if isinstance(child, str)) / 20
        length = _length(element)
        for part in self._parts(element):
            more, longer = self._of(part, chain + 1)
            cost, length = cost + more, length + longer
        cost += element.dashes * length * _DASH_COST  # children inherit it
        # children inherit what an element paints with
        shapes = max(1.0, cost)
        for name in element.paints:
            if target := self._by_id.get(name):
                cost += (shapes + _points(element) * (target.tag == "marker")) * (1 + self._of(target, chain + 1)[0])
        self._open.discard(key)
        self._known[key] = (cost, length)
        return cost, length

    def _parts(self, element: _Element) -> list[_Element]:
        """What is drawn in an element: its children and what it refers to."""
        inside = [child for child in element.children if isinstance(child, _Element) and element.tag != "defs"]
        return inside + [self._by_id[name] for name in element.draws if name in self._by_id]


def _length(element: _Element) -> float:
    """At least the length of the lines of a shape, in the unit of its dashes."""
    if element.tag not in _COSTS or not _COSTS[element.tag]:
        return 0.0
    numbers = [abs(float(found[0])) for name in _LINES for found in _NUMBER.finditer(element.attributes.get(name, ""))]
    # an absolute coordinate counts for the way to it and from it, a circle is 2 pi radii long
    return 7 * sum(numbers)


def _points(element: _Element) -> float:
    """At how many points of a path a marker is drawn."""
    return len(_NUMBER.findall(element.attributes.get("d") or element.attributes.get("points") or "")) / 2


def _all(element: _Element) -> Iterator[_Element]:
    waiting = [element]
    while waiting:
        one = waiting.pop()
        yield one
        waiting += [child for child in one.children if isinstance(child, _Element)]


def _check_size(root: _Element) -> None:
    """A picture of a hundred thousand pixels is not looked at, and everything below it would be out of sight.

    Raises:
        Refused: it is larger than :data:`MAX_SIDE`.
    """
    box = [float(number) for number in _NUMBER.findall(root.attributes.get("viewBox", ""))]
    for side, index in (("width", 2), ("height", 3)):
        found = _LENGTH.match(root.attributes.get(side, ""))
        length = float(found[1]) * _PIXELS[found[2].lower()] if found else box[index] if len(box) == 4 else 0.0
        if length > MAX_SIDE:
            raise Refused(f"it is larger than {MAX_SIDE:,.0f} pixels")
    if len(box) == 4 and box[2] > 0 and box[3] / box[2] > 50:
        raise Refused("it is more than 50 times as high as wide")


def _written(element: _Element, *, top: bool = False) -> Iterator[str]:
    names = f' xmlns="{_SVG}"' if top else ""
    attributes = "".join(f" {name}={quoteattr(value)}" for name, value in element.attributes.items())
    yield f"<{element.tag}{names}{attributes}>"
    for child in element.children:
        if isinstance(child, _Element):
            yield from _written(child)
        elif element.tag != "style":
            yield escape(child)
    if element.tag == "style":
        yield escape(_stylesheet("".join(child for child in element.children if isinstance(child, str))))
    yield f"</{element.tag}>"


def _stylesheet(text: str) -> str:
    """Rules of a style sheet with the same declarations; no at-rules, no references.

    The browser tries each rule on each element. A selector that looks at siblings, or at what an element contains,
    makes that a search each time, so only names, classes, ids and descendants of these are left.
    """
    text = re.sub(r"/\*.*?\*/|@[^;{}]*;", "", text[:100_000], flags=re.S)
    rules = []
    for selectors, body in re.findall(r"([^{}]{1,500})\{([^{}]{0,20000})\}", text)[:MAX_RULES]:
        kept = [one for one in _declarations(None, body, urls=False) if not one.startswith(("stroke-dash", "opacity"))]
        simple = [one.strip() for one in selectors.split(",") if _SELECTOR.fullmatch(one.strip())]
        if kept and simple:
            rules.append(f"{','.join(simple)}{{{';'.join(kept)}}}")
    return "\n".join(rules)
