"""What a cell may show: useful output passes, nothing that runs, loads, styles or overlays does."""
# ruff: noqa: E501

from __future__ import annotations

import base64

import pytest

from codeexec_magic.display import progress, sanitize, theme
from codeexec_magic.display.html_clean import MATH, NO_MATH
from codeexec_magic.display.sanitize import HtmlMode, Policy

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x10\0\0\0\x10\x08\2\0\0\0" + b"0" * 20).decode()

#: pieces that must never come out of HTML, SVG or Markdown
HOSTILE = [
    "<script>window.__xss=1</script>",
    "<img src=x onerror=alert(1)>",
    '<a href="javascript:alert(1)">x</a>',
    '<a href="JaVaScRiPt:alert(1)">x</a>',
    '<a href="data:text/html,<script>1</script>">x</a>',
    '<iframe srcdoc="<script>1</script>"></iframe>',
    "<svg onload=alert(1)><script>1</script></svg>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    '<div style="position:fixed;inset:0;background:red">over</div>',
    '<form action="https://evil.example"><input name=q><button>go</button></form>',
    '<meta http-equiv="refresh" content="0;url=https://evil.example">',
    '<link rel="stylesheet" href="https://evil.example/x.css">',
    '<base href="https://evil.example/">',
    '<object data="x"></object><embed src="x">',
    '<img src="https://evil.example/pixel.png">',
    '<img src="//evil.example/pixel.png">',
    '<img src="data:image/svg+xml;base64,PHN2Zz4=">',
    "<style>*{display:none}</style>",
    '<video src="https://evil.example/x.mp4" autoplay></video>',
    '<p class="jp-Dialog" id="jp-main">x</p>',
    "<div onclick=alert(1) onmouseover='alert(2)'>x</div>",
    '<noscript><p title="</noscript><img src=x onerror=alert(1)>">',
]
FORBIDDEN = (
    "<script", "onerror", "onload", "onclick", "onmouseover", "javascript:", "<iframe", "<svg", "<style", "style=",
    "<form", "<input", "<button", "<meta", "<link", "<base", "<object", "<embed", "evil.example", "<video", "jp-",
    "image/svg", "data:text",
)  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE)
@pytest.mark.parametrize("mime", ["text/html", "text/markdown"])
def test_hostile_markup_is_taken_apart(mime: str, piece: str) -> None:
    """Nothing that runs, loads or draws elsewhere is left in the HTML."""
    html = Policy().bundle({mime: f"<b>before</b>\n\n{piece}\n\n<b>after</b>"}).get("text/html", "").lower()
    # Markdown may show markup as text: then every < of it is escaped
    tags = [part for part in html.replace("&lt;", "").split("<")[1:]]
    for word in FORBIDDEN:
        assert not any(word.lstrip("<") in "<" + tag.partition(">")[0] for tag in tags), (word, html)


def test_dataframe_keeps_its_table() -> None:
    """pandas' table passes whole, its scoped style does not, and no note is made of it."""
    policy = Policy()
    html = (
        "<div>\n<style scoped>\n .dataframe tbody tr th {vertical-align: top;}\n</style>\n"
        '<table border="1" class="dataframe">\n<thead><tr style="text-align: right;"><th></th><th>x</th></tr></thead>'
        "<tbody><tr><th>0</th><td>1</td></tr></tbody></table>\n</div>"
    )
    kept = policy.bundle({"text/html": html, "text/plain": "   x\n0  1"})
    assert '<table border="1" class="dataframe">' in kept["text/html"]
    assert "<td>1</td>" in kept["text/html"]
    assert "style" not in kept["text/html"]
    assert kept["text/plain"] == "   x\n0  1"
    assert policy.notes == []


def test_html_that_needs_its_styles_gives_way_to_text() -> None:
    """A diagram without its style sheet is a heap of words; its text is better, and the card says how to see more."""
    policy = Policy()
    html = "<style>#sk {color: red}</style><div id='sk'><pre>LogisticRegression()</pre><input type=checkbox></div>"
    assert policy.bundle({"text/html": html, "text/plain": "LogisticRegression()"}) == {
        "text/plain": "LogisticRegression()"
    }
    assert "--html frame" in policy.notes[0]


def test_styled_table_keeps_its_table() -> None:
    """A pandas Styler loses its colours, not its numbers; an estimator's diagram with a table inside gives way."""
    styled = "<style>#T_1 {color: red}</style><table id='T_1'><tr><td>1</td></tr></table>"
    assert "<td>1</td>" in Policy().bundle({"text/html": styled, "text/plain": "<Styler>"})["text/html"]
    diagram = f"{styled}<label>LogisticRegression</label><a>?<span>Documentation for LogisticRegression</span></a>"
    assert Policy().bundle({"text/html": diagram, "text/plain": "LogisticRegression()"}) == {
        "text/plain": "LogisticRegression()"
    }


def test_images_must_be_images() -> None:
    """The content of an image is looked at, not its name."""
    policy = Policy()
    assert policy.bundle({"image/png": PNG})["image/png"] == PNG
    assert policy.bundle({"image/png": PNG + "\n"})["image/png"]
    hostile = base64.b64encode(b"<html><script>1</script>").decode()
    for value in (hostile, "not base64 !", 5, None, "A" * (sanitize.MAX_VALUE + 1)):
        assert "image/png" not in policy.bundle({"image/png": value, "text/plain": "x"})


def test_svg_becomes_an_image() -> None:
    """SVG is drawn where nothing in it can run."""
    svg = "<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'><script>1</script></svg>"
    html = Policy().bundle({"image/svg+xml": svg})["text/html"]
    assert html.startswith("<img ")
    assert "<svg" not in html
    assert "<script" not in html


@pytest.mark.parametrize(
    "mime",
    [
        "application/javascript",
        "application/vnd.jupyter.widget-view+json",
        "application/vnd.plotly.v1+json",
        "application/vnd.bokehjs_exec.v0+json",
        "application/pdf",
        "text/x-anything",
    ],
)
def test_unknown_types_are_dropped(mime: str) -> None:
    """Only known types pass; what was dropped is named when nothing else is left."""
    assert Policy().bundle({mime: "x", "text/plain": "plain"}) == {"text/plain": "plain"}
    assert Policy().bundle({mime: "x"}) == {"text/plain": f"<{mime}: not shown>"}


def test_latex() -> None:
    """Formulas pass, links and styles in them do not."""
    assert Policy().bundle({"text/latex": "$\\frac{1}{2}$"})["text/latex"]
    for hostile in (
        "$\\href{javascript:alert(1)}{x}$", "$\\style{position:fixed}{x}$", "$\\require{html}$",
        "$\\htmlStyle{position:fixed}{x}$", "$\\htmlData{commandlinker-command=x}{x}$", "$\\html{<script>}$",
        '$\\mmlToken{mi}[href="javascript:alert(1)"]{x}$', "$\\csname href\\endcsname{javascript:alert(1)}{x}$",
    ):  # fmt: skip
        assert "text/latex" not in Policy().bundle({"text/latex": hostile})


def test_json() -> None:
    """JSON passes unless it is nested to hurt."""
    assert Policy().bundle({"application/json": {"a": [1, None]}})["application/json"] == {"a": [1, None]}
    deep: object = 1
    for _ in range(200):
        deep = [deep]
    assert "application/json" not in Policy().bundle({"application/json": deep})


def test_markdown_is_rendered_and_its_source_kept() -> None:
    """Markdown looks like Markdown; viewers without HTML get its source instead of a Python repr."""
    kept = Policy().bundle({"text/markdown": "**bold** text", "text/plain": "<IPython.core.display.Markdown object>"})
    assert "<strong>bold</strong>" in kept["text/html"]
    assert kept["text/plain"] == "**bold** text"
    assert "text/markdown" not in kept


def test_metadata_is_reduced_to_the_size_of_images() -> None:
    """``isolated`` would be a frame without any boundary."""
    data = {"image/png": PNG, "text/html": "<b>x</b>"}
    metadata = {
        "isolated": True,
        "text/html": {"isolated": True},
        "image/png": {"width": 300, "height": True, "needs_background": "dark", "unconfined": True},
    }
    assert Policy().metadata(data, metadata) == {"image/png": {"width": 300}}
    assert Policy().metadata(data, "nonsense") == {}


def test_frame_has_no_way_out() -> None:
    """On request HTML keeps its styles, in a frame without scripts and without network: no lookup of a name either."""
    hostile = (
        "</iframe><style>b{color:red}</style><b class=x>text</b><base target=_blank><link rel=dns-prefetch href=//x.example>"
        "<link rel=preconnect href=https://x.example><meta http-equiv=refresh content=0;url=https://x.example>"
    )
    html = Policy(HtmlMode.FRAME).bundle({"text/html": hostile})["text/html"]
    assert "b{color:red}" in html
    for word in ("&lt;base", "&lt;link", "x.example", "http-equiv=refresh"):
        assert word not in html
    assert html.startswith('<iframe sandbox="" srcdoc="')
    assert html.count("<iframe") == html.count("</iframe>") == 1
    assert "<script" not in html
    assert "default-src &#x27;none&#x27;" in html


def test_trust_passes_all_but_views() -> None:
    """Trust is for one's own workers; a view could still name a widget of this kernel."""
    data = {"text/html": "<script>1</script>", "application/javascript": "1"}
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": "x"}}
    assert Policy(HtmlMode.TRUST).bundle(data | view) == data


def test_without_nh3_html_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the cleaner nothing is guessed: the text stands for it, and the card says what to install."""
    import sys

    monkeypatch.setitem(sys.modules, "nh3", None)
    policy = Policy()
    assert policy.bundle({"text/html": "<b>x</b>", "text/plain": "x"}) == {"text/plain": "x"}
    assert "`pip install nh3`" in policy.notes[0]


@pytest.mark.parametrize(
    ("html", "named", "option"),
    [
        ("<div><script>draw()</script></div>", "HTML that needs scripts", "--trust"),
        ("<div id=x></div><script>Plotly.newPlot()</script>", "HTML that needs scripts", "--trust"),
        (
            "<audio controls><source src='data:audio/wav;base64,AA'>Your browser does not …</audio>",
            "an audio player",
            "--trust",
        ),
        ("<video src='data:video/mp4;base64,AA'></video>", "a video player", "--trust"),
        ("<iframe src='https://x.example'></iframe>", "HTML with a frame", "--trust"),
    ],
)
@pytest.mark.parametrize("plain", ["", "<IPython.lib.display.Audio object>", "alt.Chart(...)"])
@pytest.mark.parametrize("mode", [HtmlMode.CLEAN, HtmlMode.FRAME])
def test_what_is_not_shown_is_named_with_an_option_that_helps(
    html: str, named: str, option: str, plain: str, mode: HtmlMode
) -> None:
    """Never blank, and never advice that cannot help: a frame runs no scripts and plays nothing."""
    policy = Policy(mode)
    assert policy.bundle({"text/html": html, "text/plain": plain}) == {"text/plain": f"<{named}: not shown>"}
    (note,) = policy.notes
    assert named in note
    assert option in note
    assert "--html frame" not in note


def test_text_of_html_is_never_a_formula() -> None:
    """Dollar signs in a table or in a card are dollar signs."""
    shown = Policy().bundle({"text/html": "<table><td>$5 and $6</td></table>"})["text/html"]
    assert shown.startswith(f'<div class="{NO_MATH}">')
    closing = Policy().bundle({"text/html": "</div></div>$x$<b>y</b>"})["text/html"]
    assert closing == f'<div class="{NO_MATH}">$x$<b>y</b></div>'
    assert f'class="cxm cxm-card {NO_MATH}"' in theme.frame("$x$")
    assert NO_MATH in (progress.progress_html({"state": "running", "left": "$x$"}) or "")


def test_formulas_of_markdown() -> None:
    """A formula is typeset if its commands are known; code and money are none; nothing else is typeset."""
    policy = Policy()
    shown = policy.bundle({"text/markdown": "$x<1$ `$y$` costs $5 or $6 $$\\frac{1}{2}$$ $\\unicode{65}$"})["text/html"]
    assert f'<span class="{MATH}">$x&lt;1$</span>' in shown
    assert f'<span class="{MATH}">$$\\frac{{1}}{{2}}$$</span>' in shown
    assert shown.count(MATH) == 2
    assert "\\unicode is not on the list" in policy.notes[0]


def test_formula_that_is_not_typeset_shows_its_source() -> None:
    """The repr of a Latex object says nothing; its source does."""
    policy = Policy()
    kept = policy.bundle({"text/latex": "$\\href{x}{y}$", "text/plain": "<IPython.core.display.Latex object>"})
    assert kept == {"text/plain": "$\\href{x}{y}$"}
    assert "\\href" in policy.notes[0]


def test_a_job_cannot_fill_the_page_with_formulas_or_pixels() -> None:
    """Many cheap displays are not cheap together."""
    policy = Policy()
    formula = "$" + "x+" * 9_000 + "x$"
    shown = [policy.bundle({"text/latex": formula}) for _ in range(20)]
    assert "text/latex" in shown[0]
    assert "text/latex" not in shown[-1]
    header = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (6000).to_bytes(4, "big") * 2 + b"\x08\2\0\0\0"
    picture = base64.b64encode(header).decode()
    assert "image/png" in policy.bundle({"image/png": picture})
    assert "image/png" not in [policy.bundle({"image/png": picture}) for _ in range(30)][-1]


def test_long_text_is_cut() -> None:
    """A text of many megabytes is slow to lay out."""
    kept = Policy().bundle({"text/plain": "x" * 3_000_000})["text/plain"]
    assert len(kept) < 1_100_000
    assert kept.endswith("(2,000,000 more characters)")
    big = Policy().bundle({"application/json": list(range(50_000))})
    assert set(big) == {"text/plain"}


def test_a_page_with_text_and_scripts_is_shown_in_a_frame() -> None:
    """An estimator's diagram is readable without its scripts: there the frame is the advice, and helps."""
    html = "<style>b{color:red}</style><div><b>LogisticRegression</b> and its parameters</div><script>fold()</script>"
    clean, framed = Policy(), Policy(HtmlMode.FRAME)
    assert clean.bundle({"text/html": html, "text/plain": "LR()"}) == {"text/plain": "LR()"}
    assert "`--html frame`" in clean.notes[0]
    assert "LogisticRegression" in framed.bundle({"text/html": html, "text/plain": "LR()"})["text/html"]
    assert "--html frame" not in framed.notes[0]


def test_a_plotly_figure_is_named_with_what_shows_it() -> None:
    """No front end has a renderer for its type, so that trusting it alone would show nothing."""
    policy = Policy()
    shown = policy.bundle({"application/vnd.plotly.v1+json": {"data": []}, "text/plain": ""})
    assert shown == {"text/plain": "<application/vnd.plotly.v1+json: not shown>"}
    assert "notebook_connected" in policy.notes[0]


@pytest.mark.parametrize("piece", ["`", "~", "```", "\\[", "\\(", "[\\[", "~~a", "[", "a|b\n-|-\n", "*_", "$$"])
def test_reading_markdown_costs_little(piece: str) -> None:
    """Beginnings without an end, however many: pytest's time limit ends a reader that looks for each end anew."""
    shown = Policy().bundle({"text/markdown": piece * (1_000_000 // len(piece))})
    assert set(shown) == {"text/plain"}
    assert Policy().bundle({"text/markdown": piece * (40_000 // len(piece))})


def test_what_a_job_shows_is_bounded_in_all() -> None:
    """Images in HTML and SVG, shapes, Markdown and its formulas count for the whole job, whatever displays them."""
    wide = base64.b64encode(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (6300).to_bytes(4, "big") * 2 + b"\1\0\0\0\0").decode()
    image = f'<img width=9 height=9 src="data:image/png;base64,{wide}">'
    assert "<img" in Policy().bundle({"text/html": f"<p>{image * 10}</p>"})["text/html"]
    for mime in ("text/html", "text/markdown"):
        assert "<img" not in Policy().bundle({mime: image * 30}).get("text/html", "")
    policy, uses = Policy(), '<use href="#a"/>' * 100
    for mime, value in {
        "text/html": image * 6,
        "image/svg+xml": f'<svg xmlns="http://www.w3.org/2000/svg"><g id="a">{"<rect/>" * 100}</g>{uses}</svg>',
    }.items():
        shown = [policy.bundle({mime: value}) for _ in range(60)]
        assert "text/html" in shown[0]
        assert "text/html" not in shown[-1]
    policy = Policy()
    formulas = "$x$ " * 400 + "\n\n" + "$$" + "x" * 19_000 + "$$"
    shown = [policy.bundle({"text/markdown": formulas}).get("text/html", "") for _ in range(12)]
    assert MATH in shown[0]
    assert shown[-1] == ""
    assert any("formulas of a job" in note or "that of a job" in note for note in policy.notes)
