"""Small pictures as inline SVG: sparklines, line charts, bars. Pure; colours are the theme's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from codeexec_magic.display.theme import escaped

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Line:
    """One line of a chart."""

    name: str
    points: Points  #: x from 0 (left) to 1 (right), y in the chart's unit
    colour: str  #: a CSS colour


def spark(points: Points, label: str, *, width: int = 120, height: int = 22) -> str:
    """A filled line without axes; ``points`` as in :class:`Line`."""
    top = max([1.0, *(y for _, y in points)])
    drawn = [(x * (width - 4), height - 2 - y / top * (height - 6)) for x, y in points]
    body = f'<line x1="0" x2="{width - 4}" y1="{height - 2}" y2="{height - 2}" stroke="var(--cx-line)"/>'
    if drawn:
        path, last = _path(drawn), drawn[-1]
        area = f"{drawn[0][0]:.1f},{height} {path} {last[0]:.1f},{height}"
        body += (
            f'<polygon points="{area}" fill="var(--cx-run)" opacity=".14"/>'
            f'<polyline points="{path}" fill="none" stroke="var(--cx-run)" stroke-width="1.5"/>'
            f'<circle cx="{last[0]:.1f}" cy="{last[1]:.1f}" r="2.2" fill="var(--cx-run)"/>'
        )
    return f'<svg width="{width}" height="{height}" role="img" aria-label="{escaped(label)}">{body}</svg>'


def chart(title: str, unit: str, lines: Sequence[Line], *, left: str, width: int = 420, height: int = 128) -> str:
    """Lines over time, each labelled at its end with its last value."""
    west, east, north, south = 36, 84, 8, 20
    right, bottom = width - east, height - south
    top = ceiling(max([0.0, *(y for line in lines for _, y in line.points)]))
    parts = []
    for share in (0.0, 0.5, 1.0):
        y = bottom - share * (bottom - north)
        parts.append(
            f'<line x1="{west}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="var(--cx-line)"/>'
            f'<text x="{west - 6}" y="{y + 3.5:.1f}" text-anchor="end">{number(top * share)}</text>'
        )
    labels: list[tuple[float, float, Line]] = []
    for line in lines:
        drawn = [(west + x * (right - west), bottom - y / top * (bottom - north)) for x, y in line.points]
        if not drawn:
            continue
        parts.append(
            f'<polyline points="{_path(drawn)}" fill="none" stroke="{line.colour}" stroke-width="1.8" '
            'stroke-linejoin="round"/>'
            f'<circle cx="{drawn[-1][0]:.1f}" cy="{drawn[-1][1]:.1f}" r="2.6" fill="{line.colour}"/>'
        )
        labels.append((drawn[-1][1], drawn[-1][0], line))
    parts.extend(_labels(labels))
    parts.append(
        f'<text x="{west}" y="{height - 5}">{escaped(left)}</text>'
        f'<text x="{right}" y="{height - 5}" text-anchor="end">now</text>'
    )
    told = ", ".join(f"{line.name} {number(line.points[-1][1])}" for line in lines if line.points) or "no data yet"
    return (
        f'<div class="cxm-chart"><h4>{escaped(title)} <span>({escaped(unit)})</span></h4>'
        f'<svg viewBox="0 0 {width} {height}" width="100%" role="img" aria-label="{escaped(f"{title}: {told}", 200)}">'
        f"{''.join(parts)}</svg></div>"
    )


def bar(share: float, label: str) -> str:
    """A horizontal bar filled to ``share``."""
    filled = 100 * min(1.0, max(0.0, share))
    return f'<div class="cxm-slots" title="{escaped(label)}"><i style="width:{filled:.0f}%"></i></div>'


def ceiling(value: float) -> float:
    """The next round number that leaves a little air: 1, 2 or 5 times a power of ten."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10, 20) if step * power >= value * 1.02)


def number(value: float) -> str:
    """Few digits, as on an axis."""
    if value >= 10_000:
        return f"{value / 1000:.0f}k"
    if value >= 100 or value == int(value):
        return f"{value:.0f}"
    return f"{value:.3g}" if value >= 1 else f"{value:.2f}".rstrip("0").rstrip(".")


def _labels(ends: list[tuple[float, float, Line]]) -> list[str]:
    """Names at the ends of lines, moved apart where they would overlap."""
    parts, before = [], math.inf
    # from the bottom up: below it stands the time axis
    for y, x, line in sorted(ends, key=lambda end: -end[0]):
        before = min(y, before - 12)
        parts.append(
            f'<text x="{x + 7:.1f}" y="{before + 3.5:.1f}" class="cxm-end">{escaped(line.name)} '
            f"{number(line.points[-1][1])}</text>"
        )
    return parts


def _path(points: Points) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
