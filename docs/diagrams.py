"""Diagrams as inline SVG, drawn from the tables below at build time: ``{diagram} process-tree``.

Inline SVG takes its colours from the page (``_static/diagrams.css``), so that it follows the theme's switch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError


@dataclass(frozen=True)
class Box:
    """A rectangle with a name and lines of notes; ``kind`` is a class of the style sheet."""

    x: int
    y: int
    width: int
    height: int
    name: str
    notes: Sequence[str] = ()
    kind: str = "box"


@dataclass(frozen=True)
class Arrow:
    """A line through points, with a head at the last one and a label at a place of its own."""

    points: Sequence[tuple[int, int]]
    label: str = ""
    at: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Diagram:
    """A size, a description for those who do not see it, and what is drawn."""

    width: int
    height: int
    title: str
    boxes: Sequence[Box]
    arrows: Sequence[Arrow]


DIAGRAMS = {
    "overview": Diagram(
        860,
        250,
        "The way of a cell: from the notebook through the job store and the broker to a worker, and back",
        [
            Box(10, 20, 150, 70, "notebook", ["magic, client"]),
            Box(240, 20, 200, 70, "Redis or Valkey", ["job record, queue, events"]),
            Box(520, 20, 150, 70, "worker", ["Celery task, attempt"]),
            Box(520, 150, 150, 70, "launcher", ["limits, verdicts"]),
            Box(700, 150, 150, 70, "sandbox", ["the cell"], "walled"),
        ],
        [
            Arrow([(160, 40), (240, 40)], "submit", (176, 34)),
            Arrow([(240, 70), (160, 70)], "events", (176, 84)),
            Arrow([(440, 40), (520, 40)], "deliver", (456, 34)),
            Arrow([(520, 70), (440, 70)], "record", (456, 84)),
            Arrow([(580, 90), (580, 150)], "request", (524, 126)),
            Arrow([(610, 150), (610, 90)], "output, end", (618, 126)),
            Arrow([(670, 172), (700, 172)]),
            Arrow([(700, 198), (670, 198)]),
        ],
    ),
    "process-tree": Diagram(
        860,
        560,
        "The processes of one worker machine: supervisor, Celery process, launcher, namespace server, zygote and cells",
        [
            Box(10, 10, 250, 64, "supervisor", ["restarts the worker when it dies"]),
            Box(60, 110, 250, 64, "Celery process", ["broker connection, leases, reconciler"]),
            Box(110, 210, 250, 64, "launcher", ["keeps time, judges; no secrets"]),
            Box(150, 305, 690, 240, "namespaces of the zygote: no network, no files of the host", (), "frame"),
            Box(170, 345, 250, 64, "namespace server", ["process 1; prepares each run"]),
            Box(220, 455, 230, 64, "zygote", ["libraries; runs no user code"]),
            Box(490, 345, 330, 180, "namespaces of one run", (), "frame"),
            Box(510, 385, 160, 54, "process 1", ["collects orphans"]),
            Box(560, 455, 240, 54, "cell", ["user code; used once"], "walled"),
        ],
        [
            Arrow([(35, 74), (35, 142), (60, 142)]),
            Arrow([(85, 174), (85, 242), (110, 242)]),
            Arrow([(135, 274), (135, 377), (170, 377)]),
            Arrow([(195, 409), (195, 487), (220, 487)]),
            Arrow([(420, 377), (465, 377), (465, 410), (510, 410)]),
            Arrow([(450, 487), (560, 487)], "fork", (462, 480)),
            Arrow([(360, 242), (700, 242), (700, 455)], "code in; output, events and end out, over pipes", (372, 234)),
        ],
    ),
    "job-states": Diagram(
        860,
        330,
        "The states of a job: queued, running, retrying, and the four final ones",
        [
            Box(10, 120, 130, 54, "queued"),
            Box(250, 120, 130, 54, "running"),
            Box(250, 250, 130, 54, "retrying", ["waits 5, 25, 125 s"]),
            Box(560, 10, 170, 54, "succeeded", ["reason ok"], "walled"),
            Box(560, 85, 170, 54, "failed", ["a rerun would not help"], "walled"),
            Box(560, 165, 170, 54, "dead_lettered", ["last retry or 3rd crash"], "walled"),
            Box(560, 250, 170, 54, "cancelled", ["the user said so"], "walled"),
        ],
        [
            Arrow([(140, 138), (250, 138)], "begin", (170, 132)),
            Arrow([(250, 160), (140, 160)], "worker lost", (158, 176)),
            Arrow([(300, 174), (300, 250)], "limit", (264, 216)),
            Arrow([(250, 277), (75, 277), (75, 174)], "due", (150, 270)),
            Arrow([(380, 128), (470, 128), (470, 37), (560, 37)]),
            Arrow([(380, 140), (490, 140), (490, 112), (560, 112)]),
            Arrow([(380, 152), (490, 152), (490, 192), (560, 192)], "gave up", (500, 186)),
            Arrow([(380, 164), (395, 164), (395, 277), (560, 277)], "cancel (from any state)", (410, 270)),
            Arrow([(730, 192), (840, 192), (840, 322), (40, 322), (40, 174)], "requeue", (750, 186)),
        ],
    ),
}


def svg(diagram: Diagram) -> str:
    """The diagram as markup."""
    parts = [
        f'<div class="diagram"><svg viewBox="0 0 {diagram.width} {diagram.height}" role="img" '
        f'aria-label="{escape(diagram.title)}">',
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path class="head" d="M0 0 L8 4 L0 8 z"/></marker></defs>',
    ]
    for box in diagram.boxes:
        parts.append(
            f'<rect class="{box.kind}" x="{box.x}" y="{box.y}" width="{box.width}" height="{box.height}" rx="6"/>'
        )
        parts.append(f'<text class="name" x="{box.x + 12}" y="{box.y + 23}">{escape(box.name)}</text>')
        for number, note in enumerate(box.notes):
            parts.append(f'<text class="note" x="{box.x + 12}" y="{box.y + 42 + 16 * number}">{escape(note)}</text>')
    for arrow in diagram.arrows:
        line = " ".join(f"{x},{y}" for x, y in arrow.points)
        parts.append(f'<polyline class="arrow" points="{line}" marker-end="url(#head)"/>')
        if arrow.label:
            parts.append(f'<text class="note" x="{arrow.at[0]}" y="{arrow.at[1]}">{escape(arrow.label)}</text>')
    return "".join([*parts, "</svg></div>"])


class DiagramDirective(Directive):
    """Shows one of the diagrams by its name."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The picture as a raw node."""
        name = self.arguments[0]
        if name not in DIAGRAMS:
            raise ExtensionError(f"no diagram {name!r}: there are {', '.join(DIAGRAMS)}")
        # pages are built again when a table above changes
        self.state.document.settings.env.note_dependency(__file__)
        return [nodes.raw("", svg(DIAGRAMS[name]), format="html")]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("diagram", DiagramDirective)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
