"""Markdown of a cell as harmless HTML; formulas in it are typeset where ``latex`` allows it. Pure."""

from __future__ import annotations

import html
import re
import secrets
from typing import Final

from codeexec_magic.display import html_clean, latex

#: Longer Markdown is shown as its source (characters).
MAX_LENGTH: Final = 500_000
#: At most so many formulas are typeset.
_MAX_FORMULAS: Final = 500
#: Code, in which no formula is looked for; then the delimiters of formulas.
_CODE_OR_MATH: Final = re.compile(
    r"(?P<code>^(?P<fence>```+|~~~+)[^\n]*\n.*?(?:^(?P=fence)[^\n]*$|\Z)|(?P<ticks>`+)(?!`)[^`]{1,2000}(?P=ticks))"
    r"|(?P<math>\$\$[^$]{1,20000}\$\$|(?<![\\$\w])\$(?![\s$])[^$\n]{1,2000}(?<![\s\\])\$(?!\d)"
    r"|\\\[[^$]{1,20000}?\\\]|\\\([^$\n]{1,2000}?\\\))",
    re.M | re.S,
)


def rendered(text: str) -> tuple[str | None, str]:
    """Markdown as HTML, and why a formula in it is not typeset; no HTML where mistune or nh3 are not installed.

    Raises:
        TooLarge: the HTML has too many elements, or nests them too deep.
    """
    try:
        import mistune
    except ImportError:
        return None, ""
    if len(text) > MAX_LENGTH:
        return None, f"it is longer than {MAX_LENGTH:,} characters"
    mark = f"cxmformula{secrets.token_hex(8)}x"
    formulas: list[str] = []
    refused: list[str] = []

    def take(found: re.Match[str]) -> str:
        if found["math"] is None:
            return found[0]
        why = latex.refusal(found["math"]) if len(formulas) < _MAX_FORMULAS else "there are too many formulas"
        if why:
            refused.append(why)
            return found[0]
        formulas.append(found["math"])
        return f"{mark}{len(formulas) - 1}x"

    body = html_clean.clean_html(str(mistune.html(_CODE_OR_MATH.sub(take, text))))
    if body is None:
        return None, ""

    def put_back(found: re.Match[str]) -> str:
        return f'<span class="{html_clean.MATH}">{html.escape(formulas[int(found[1])])}</span>'

    # in an attribute a formula is text again; nh3 writes > in attributes as it is, but never a quote
    body = re.sub(rf'="[^"]*{mark}[^"]*"', lambda part: re.sub(rf"{mark}\d+x", "", part[0]), body)
    return re.sub(rf"{mark}(\d+)x", put_back, body), refused[0] if refused else ""
