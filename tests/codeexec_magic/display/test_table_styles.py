"""Colours of tables pass, and nothing else of a style sheet does."""
# ruff: noqa: E501

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from codeexec_magic.display import html_clean, table_styles
from codeexec_magic.display.sanitize import Policy


def styled() -> str:
    """A table with everything that people use of the Styler."""
    frame = pd.DataFrame(np.arange(6).reshape(3, 2) * 1.234, columns=["a", "b"])
    return str(
        frame.style.background_gradient(subset=["a"])
        .format("{:.1f}")
        .bar(subset=["b"], color="#d65f5f")
        .highlight_max(subset=["a"], props="color: white; background-color: darkred; font-weight: bold")
        .set_table_styles([{"selector": "th", "props": "text-align: center"}])
        .set_caption("three rows")
        .to_html()
    )


def test_a_styler_keeps_colours_and_formats() -> None:
    """Gradient, bar, highlight, format, caption and styles of headings are there, and no note says otherwise."""
    policy = Policy()
    shown = policy.bundle({"text/html": styled(), "text/plain": "<Styler>"})["text/html"]
    cells = dict(re.findall(r'<td style="([^"]*)">([^<]*)</td>', shown))
    assert [text for text in cells.values()] == ["0.0", "1.2", "2.5", "3.7", "4.9", "6.2"]
    first, *_, last_a, last_b = cells
    assert "background-color:#fff7fb" in first
    assert "font-weight:bold" in last_a
    assert "background-color:darkred" in last_a
    assert re.search(r"background:linear-gradient\(90deg, ?#d65f5f 100\.0%, ?transparent 100\.0%\)", last_b)
    assert '<th style="text-align:center">a</th>' in shown
    assert "three rows" in shown
    assert "<style" not in shown
    assert policy.notes == []


@pytest.mark.parametrize(
    "css",
    [
        "background: url(http://x)",
        "background: URL(http://x)",
        "background-image: url(http://x)",
        "background: u\\72l(http://x)",
        "background: linear-gradient(90deg, red 1%, transparent 2%), url(http://x)",
        "background: linear-gradient(90deg, url(x) 1%)",
        "background: image-set('x' 1x)",
        "color: expression(alert(1))",
        "color: var(--secret)",
        "width: calc(100vw * 9)",
        "width: 99999px",
        "position: fixed",
        "position: absolute; top: 0",
        "font-family: x",
        "font-size: 900px",
        "behavior: url(x)",
        "content: 'x'",
        "margin: -900px",
        "transform: scale(90)",
        "color: red\"><script>",
        "color: red}*{color",
        "-moz-binding: url(x)",
        "animation: x 1s",
        "border: 1px solid url(x)",
        "color:" + "a" * 5000,
    ],
)  # fmt: skip
def test_what_loads_covers_or_moves_is_dropped(css: str) -> None:
    """As a rule of a sheet, as an attribute, in capital letters."""
    assert "(http" not in table_styles.declarations(css)
    for text in (css, css.upper()):
        html = f'<style>#T_a_row0_col0 {{ {text} }}</style><table id="T_a"><tr><td id="T_a_row0_col0">x</td><td style="{text}">y</td></tr></table>'
        shown = Policy().bundle({"text/html": html})["text/html"]
        for style in re.findall(r'style="([^"]*)"', shown):
            assert style == "color:red", style


def test_only_cells_of_tables_have_styles() -> None:
    """No other element gets one, whatever its id is."""
    html = "<style>#T_x {color: red} #T_x td {color: blue}</style><p id=T_x style='color:red'>p</p><table><tr><td>x</td></tr></table>"
    shown = Policy().bundle({"text/html": html})["text/html"]
    assert re.findall(r"<(\w+) style", shown) == ["td"]


def test_very_large_sheets_take_no_time() -> None:
    """A sheet is read once, in time that grows with its length."""
    hostile = (
        "<style>"
        + "#T_a" * 200_000
        + "{" * 1000
        + "border:"
        + "1px " * 100_000
        + "</style><table><tr><td>x</td></tr></table>"
    )
    assert "<td>x</td>" in Policy().bundle({"text/html": hostile})["text/html"]
    many = "".join(f"#T_a_row{i}_col0 {{color: red}}" for i in range(50_000))
    assert len(table_styles.rules(f"<style>{many}</style>").by_id) == 50_000
    same = "<style>" + "#T_a td {color: red}" * 25_000 + "</style><table>" + "<td>" * 50_000
    assert 'style="color:red"' in (html_clean.clean_html(same) or "")
