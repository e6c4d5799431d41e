"""Markdown of a cell as harmless HTML; formulas in it are typeset where ``latex`` allows it. Pure."""

from __future__ import annotations

import html
import re
import secrets
from dataclasses import dataclass
from typing import Final

from codeexec_magic.display import html_clean, latex

#: Longer Markdown is shown as its source (characters). For some texts the time of mistune grows with the square of
#: the length; it is seconds at this length.
MAX_LENGTH: Final = 40_000
#: At most so many formulas are typeset.
_MAX_FORMULAS: Final = 500
#: Code, in which no formula is looked for; then the delimiters of formulas.
#: Every alternative stops where another alternative could begin. So a text that opens many formulas or code spans
#: and closes none is read once, not once for each opening.
_CODE_OR_MATH: Final = re.compile(
    r"(?P<code>^(?P<fence>```++|~~~++)[^\n]*+\n.*?(?:^(?P=fence)[^\n]*$|\Z)|(?<!`)(?P<ticks>`++)[^`]{1,2000}+(?P=ticks))"
    r"|(?P<math>\$\$[^$]{1,20000}\$\$|(?<![\\$\w])\$(?![\s$])[^$\n]{1,2000}(?<![\s\\])\$(?!\d)"
    r"|\\\[(?:[^$\\]|\\(?![\[\]])){1,20000}+\\\]|\\\((?:[^$\n\\]|\\(?![()])){1,2000}+\\\))",
    re.M | re.S,
)


@dataclass(frozen=True)
class Rendered:
    """Markdown as HTML, and what it contains."""

    #: none where mistune or nh3 are not installed
    html: str | None
    #: why it, or a formula in it, is shown as its source; empty if all is typeset
    why: str = ""
    #: the characters of all formulas that are typeset
    formulas: int = 0


def rendered(text: str, formulas_left: int) -> Rendered:
    """Markdown as HTML.

    Args:
        text: Markdown.
        formulas_left: so many characters of formulas may be typeset.

    Raises:
        TooLarge: the HTML has too many elements, or nests them too deep.
    """
    try:
        import mistune
    except ImportError:
        return Rendered(None)
    if len(text) > MAX_LENGTH:
        return Rendered(None, f"it is longer than {MAX_LENGTH:,} characters")
    mark = f"cxmformula{secrets.token_hex(8)}x"
    formulas: list[str] = []
    refused: list[str] = []

    def take(found: re.Match[str]) -> str:
        if found["math"] is None:
            return found[0]
        why = latex.refusal(found["math"]) if len(formulas) < _MAX_FORMULAS else "there are too many formulas"
        if not why and sum(map(len, formulas)) + len(found["math"]) > formulas_left:
            why = latex.TOO_MANY
        if why:
            refused.append(why)
            return found[0]
        formulas.append(found["math"])
        return f"{mark}{len(formulas) - 1}x"

    body = html_clean.clean_html(str(mistune.html(_CODE_OR_MATH.sub(take, text))))
    if body is None:
        return Rendered(None)

    def put_back(found: re.Match[str]) -> str:
        return f'<span class="{html_clean.MATH}">{html.escape(formulas[int(found[1])])}</span>'

    # in an attribute a formula is text again; nh3 writes > in attributes as it is, but never a quote
    body = re.sub(rf'="[^"]*{mark}[^"]*"', lambda part: re.sub(rf"{mark}\d+x", "", part[0]), body)
    shown = re.sub(rf"{mark}(\d+)x", put_back, body)
    return Rendered(shown, refused[0] if refused else "", sum(map(len, formulas)))
