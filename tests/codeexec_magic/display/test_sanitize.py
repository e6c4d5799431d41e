"""What a cell may show: useful output passes, nothing that runs, loads, styles or overlays does."""

from __future__ import annotations

import base64

import pytest

from codeexec_magic.display import sanitize
from codeexec_magic.display.sanitize import HtmlMode, Policy

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"0" * 20).decode()

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
    """On request HTML goes whole into a frame without scripts and without network."""
    html = Policy(HtmlMode.FRAME).bundle({"text/html": '</iframe><script>"1"</script>'})["text/html"]
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
