"""The fenced code blocks of the documents, and what the comments above them say about running them.

A comment directly above a block may be:

- ``<!-- not run: REASON -->``: the block is shown only; the reason is required, and such blocks are counted.
- ``<!-- run -->`` or ``<!-- test -->``: ``.ci/run`` runs the block in a fresh clone.
- ``<!-- raises: NAME -->``: the block ends with this exception.
- ``<!-- prints -->``: above a ``text`` block, which is what the block before it prints; ``...`` stands for anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).parents[2]
#: languages of blocks that a test runs, or reads as what they are
RUN = frozenset({"python", "ipython", "sh"})
PARSED = frozenset({"toml", "json", "yaml"})
#: languages of blocks that nobody types in
SHOWN = frozenset({"text", "diagram"})

_FENCE = re.compile(r"^ *(?P<fence>`{3,})(?P<language>[^`\n]*)\n(?P<body>.*?)^ *(?P=fence)$", re.M | re.S)
_COMMENT = re.compile(r"<!-- (?P<word>not run|run|test|raises|prints)(?:: (?P<text>(?:(?!-->).)+?))? -->\s*\Z", re.S)


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    path: Path
    line: int
    language: str
    body: str
    word: str = ""  #: of the comment above it
    text: str = ""  #: what the comment says after its word

    @property
    def where(self) -> str:
        """File and line, as errors name it."""
        return f"{self.path.relative_to(ROOT)}:{self.line}"


def documents() -> list[Path]:
    """Every document of the repository that readers may copy from."""
    # the changelog has no blocks, and docs/notebooks is a link to notebooks that nbval runs
    named = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")]
    return [*named, *sorted(path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts)]


def blocks(path: Path) -> Iterator[Block]:
    """The blocks of one document, from its start."""
    text = path.read_text(encoding="utf-8")
    for match in _FENCE.finditer(text):
        language = match["language"].strip()
        if language.startswith("{"):
            continue  # a directive of Sphinx
        comment = _COMMENT.search(text[: match.start()])
        yield Block(
            path,
            text.count("\n", 0, match.start()) + 1,
            language,
            dedent(match["body"]),
            comment["word"] if comment else "",
            (comment["text"] or "") if comment else "",
        )
