"""Looking at output loads nothing, covers nothing and hangs nothing; formulas that are meant are typeset."""
# ruff: noqa: E501

from __future__ import annotations

from collections.abc import Callable

import pytest
from lab import Notebook
from live_cluster import LiveCluster

pytestmark = pytest.mark.browser
Open = Callable[..., Notebook]

BEACON = r"""%%remote_exec --no-cache --retries 0
from IPython.display import display, HTML, Markdown, Latex
secret = "s3cret-of-the-inputs".encode().hex()
display(HTML(r"<p>a table: $\unicode[x;background:url(http://127.0.0.1:9/html/%s)]{65}$</p>" % secret))
display(Markdown(r"words $\unicode[x;background:url(http://127.0.0.1:9/md)]{65}$"))
display(Latex(r"$\let\u\unicode1\u[x;background:url(http://127.0.0.1:9/latex)]{65}$"))
display(HTML(r"<p>$\unicode[x;position:fixed;top:0;left:0;width:100vw;height:100vh;z-index:99999;background:#b00;color:white;font-size:40px]{80}$</p>"))
display({"application/vnd.codeexec.progress+json": {"left": r"$\unicode[x;background:url(http://127.0.0.1:9/bar)]{65}$", "right": "$x$", "state": "running", "share": .5}}, raw=True)
display({"application/json": {"a": r"$\unicode[x;background:url(http://127.0.0.1:9/json)]{65}$"}}, raw=True)
print(r"$\unicode[x;background:url(http://127.0.0.1:9/print)]{65}$")
display(HTML('<a href="https://x.example/">link</a>'))
"""
RAISES = r"""%%remote_exec --no-cache --retries 0
# $\unicode[x;background:url(http://127.0.0.1:9/code)]{65}$
raise ValueError(r"$\unicode[x;background:url(http://127.0.0.1:9/evalue)]{65}$")
"""
FORMULAS = r"""%%remote_exec --no-cache
from IPython.display import display, HTML, Markdown, Latex, Math
import pandas as pd
display(Latex(r"$\frac{1}{2}$"), Math(r"\int_0^\infty e^{-x^2}\,dx"), Markdown(r"text $\alpha$ and $$\sum_i x_i$$ and `$\beta$`"))
display(pd.DataFrame({"price": ["$5", "$6"], "other $": ["$x$", r"\(y\)"]}))
"""
FRAME = """%%remote_exec --no-cache --html frame
from IPython.display import HTML
HTML('''<style>@import url(http://127.0.0.1:9/a); @font-face{font-family:f;src:url(http://127.0.0.1:9/b)}
b{background:url(http://127.0.0.1:9/c);font-family:f}</style><link rel=stylesheet href=http://127.0.0.1:9/d>
<link rel=prefetch href=http://127.0.0.1:9/e><base target=_top><meta http-equiv=refresh content='0;url=http://127.0.0.1:9/f'>
<b>styled</b><img src=http://127.0.0.1:9/g>''')
"""
BOMBS = r"""%%remote_exec --no-cache
from IPython.display import SVG, display
import base64
svg = '<svg xmlns="http://www.w3.org/2000/svg" width="200" height="200"><defs><g id="a0"><path d="M0 0L9 9L0 9z" opacity=".5"/></g>'
for i in range(1, 9): svg += '<g id="a%d">%s</g>' % (i, ''.join('<use href="#a%d" x="%d"/>' % (i - 1, k) for k in range(10)))
display(SVG(svg + '</defs><use href="#a8"/></svg>'))
png = b'\x89PNG\r\n\x1a\n\0\0\0\rIHDR' + (60000).to_bytes(4, 'big') * 2 + b'\x08\2\0\0\0'
display({'image/png': base64.b64encode(png).decode()}, raw=True)
"""


def test_text_is_no_formula_and_formulas_load_nothing(notebook: Open) -> None:
    """Waiting, in the background, in the panel, saved and loaded again: the page asks for nothing (see the fixture)."""
    behind = BEACON.replace("--no-cache", "--no-cache --no-wait")
    book = notebook(BEACON, RAISES, behind, "%remote_jobs", "panel = %remote_queue")
    book.run(1)
    book.run(2)
    book.run(3)
    book.says(3, "Succeeded")
    book.run(4)
    book.run(5)
    book.poll(lambda: "unicode" in book.text(5), 20, "the code of a job in the panel")
    book.page.wait_for_load_state("networkidle")
    for index in range(1, 6):
        assert book.output(index).locator("mjx-container, .MathJax").count() == 0, book.text(index)
    assert book.text(1).count("unicode") >= 5, book.text(1)
    book.save()
    book.open()
    book.says(3, "Succeeded")
    book.page.wait_for_load_state("networkidle")
    assert book.page.locator("mjx-container, .MathJax").count() == 0


def test_the_same_output_loads_when_it_is_trusted(notebook: Open) -> None:
    """What the page asks for is seen by these tests."""
    book = notebook(BEACON.replace("--no-cache", "--no-cache --trust"), outside=True)
    book.start(1)
    book.poll(lambda: any(":9/html/" in url for url in book.asked), 20, "the request of a formula")


def test_formulas_that_are_meant_are_typeset(notebook: Open) -> None:
    """LaTeX and formulas of Markdown are; dollar signs of a table are not."""
    book = notebook(FORMULAS)
    book.run(1)
    formulas = book.output(1).locator("mjx-container")
    book.poll(lambda: formulas.count() == 4, 20, "four formulas")
    assert book.output(1).locator("table mjx-container").count() == 0
    for words in ("$5", "$x$", r"\(y\)", r"$\beta$"):
        assert words in book.text(1)


def test_a_frame_asks_for_nothing(notebook: Open) -> None:
    """``--html frame``: no style, link, refresh or image asks for anything."""
    book = notebook(FRAME)
    book.run(1)
    assert book.output(1).frame_locator("iframe").locator("b").inner_text() == "styled"
    book.page.wait_for_load_state("networkidle")


def test_a_bomb_leaves_the_page_usable(notebook: Open) -> None:
    """A drawing of a hundred million shapes, and an image of gigapixels, are named instead of drawn."""
    book = notebook(BOMBS)
    said = book.run(1)
    assert "<SVG: not shown>" in said
    assert "drawing it takes more than" in said
    assert "<image/png: not shown>" in said
    assert book.output(1).locator("img").count() == 0


@pytest.mark.xfail(
    reason="the advice for plotly, altair, IFrame and Audio is not proven in a browser yet", strict=False
)
@pytest.mark.parametrize(
    ("code", "named", "sign"),
    [
        ("import plotly.express as px\nfig = px.line(x=[1, 2], y=[3, 1])\nfig.show('notebook_connected')", "HTML that needs scripts", "plotly"),
        ("import altair as alt, pandas as pd\nalt.Chart(pd.DataFrame({'a': [1]})).mark_bar().encode(x='a:O')", "HTML that needs scripts", "vega"),
        ("from bokeh.plotting import figure, show\nfrom bokeh.io import output_notebook\noutput_notebook()\np = figure(); p.line([1, 2], [3, 4]); show(p)", "needs scripts", "bokeh"),
        ("from IPython.display import IFrame\nIFrame('http://127.0.0.1:9/frame', 300, 300)", "HTML with a frame", "/frame"),
        ("from IPython.display import Audio\nimport numpy as np\nAudio(np.sin(np.arange(800)), rate=8000)", "an audio player", ""),
    ],
)  # fmt: skip
def test_the_option_that_is_advised_shows_it(notebook: Open, code: str, named: str, sign: str) -> None:
    """By default it is named, with ``--trust`` as the advice; with that the page loads what draws it."""
    book = notebook(f"%%remote_exec --no-cache\n{code}", f"%%remote_exec --no-cache --trust\n{code}", outside=True)
    said = book.run(1)
    assert named in said
    assert "--trust" in said
    before = list(book.asked)
    assert not [url for url in before if sign and sign in url and book.lab.url not in url]
    book.run(2)
    if sign:
        book.poll(lambda: any(sign in url for url in book.asked[len(before) :]), 20, f"a request for {sign}")
    else:
        assert book.output(2).locator("audio").count() == 1


def test_a_restart_leaves_the_job_and_its_card_says_so(notebook: Open, cluster: LiveCluster) -> None:
    """A restart interrupts the cell; that is no Stop: the job goes on, and the card does not claim to know about it."""
    book = notebook("%%remote_exec --no-cache\nimport time\ntime.sleep(8); print('slept')")
    book.start(1)
    book.says(1, "Running")
    book.restart()
    book.says(1, "lost its kernel")
    assert "Running" not in book.text(1)
    result = cluster.client.job(cluster.client.jobs(limit=1)[0].id).result(60)
    assert (result.success, result.stdout) == (True, "slept\n")


def test_clearing_at_the_end_of_a_cell_keeps_its_output(notebook: Open) -> None:
    """As in a local cell: what is to be cleared by the next output stays when there is none."""
    book = notebook(
        "%%remote_exec --no-cache\nfrom IPython.display import clear_output\nprint('kept'); clear_output(wait=True)"
    )
    book.run(1)
    book.says(1, "Succeeded")
    assert "kept" in book.text(1)
