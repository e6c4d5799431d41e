"""HTML is cleaned at a cost that its length bounds."""
# ruff: noqa: E501

from __future__ import annotations

import pytest

from codeexec_magic.display import html_clean


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<p>a<b>b</p>c", "<p>a<b>b</b></p>c"),
        ("<table><tr><td>1<td>2<tr><td>3</table>", "<table><tbody><tr><td>1</td><td>2</td></tr><tr><td>3</td></tr></tbody></table>"),
        ("1 < 2 &amp; 3 > 2 &lt;b&gt;", "1 &lt; 2 &amp; 3 &gt; 2 &lt;b&gt;"),
        ("<ul><li>1<li>2</ul>", "<ul><li>1</li><li>2</li></ul>"),
        ("a<!-- <b> -->b<!DOCTYPE x>c<![CDATA[d]]>", "abc"),
        ("<a href='https://x.example/?a=1&amp;b=2'>l</a>", '<a href="https://x.example/?a=1&amp;b=2" rel="noopener noreferrer">l</a>'),
        ("<a href='http://x.example'>l</a>", '<a rel="noopener noreferrer">l</a>'),
        ("<script>'<b>'</script>x<style>y</style>", "x"),
        ("<td colspan=99999999>x", "x"),
        ("never <b ended", "never "),
    ],
)  # fmt: skip
def test_clean(text: str, shown: str) -> None:
    """Markup is repaired as a browser would, and what is not known goes."""
    assert html_clean.clean_html(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "".join(f"<font color={i}>" for i in range(5000)) + "<p>" * 5000,
        "<div>" * 100_000,
        "<td>x</td>" * 200_000,
        "<b>" * 500,
        "<table>" + "<tr><td rowspan=1000 colspan=1000>x" * 300 + "</table>",
        "<table>" + "<col span=1000>" * 300 + "<tr><td>x</table>",
    ],
)
def test_what_multiplies_is_refused(text: str) -> None:
    """Markup of which a parser makes millions of elements, or a tower of them."""
    with pytest.raises(html_clean.TooLarge):
        html_clean.clean_html(text)


@pytest.mark.parametrize(
    "piece", ['<a "', "<!--", "<!", "<a", "<script>", "<svg>x", "</b>", "<a title='", "&lt", "<img src=x ",
     "<embed>", "<head>"]
)  # fmt: skip
def test_reading_costs_what_the_length_says(piece: str) -> None:
    """Unfinished markup, however often, is read once: pytest's time limit ends a quadratic reader."""
    assert len(html_clean.clean_html(piece * (2_000_000 // len(piece))) or "") < 6_000_000


@pytest.mark.parametrize("piece", ["<style>", "<style></style>", "<style>a"])
def test_reading_sheets_costs_what_the_length_says(piece: str) -> None:
    """A frame keeps style sheets: their end is looked for once."""
    text = piece * (600_000 // len(piece)) + " " * 1_000_000
    assert len(html_clean.clean_html(text, styles=True) or "") < 6_000_000
