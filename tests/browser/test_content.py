"""What a cell shows, and what it cannot do to the page."""
# ruff: noqa: E501

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from lab import Notebook

pytestmark = pytest.mark.browser
Open = Callable[..., Notebook]

RICH = """%%remote_exec --no-cache
import sys
import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import JSON, Latex, Markdown, clear_output, display
print('gone'); clear_output()
print('to stdout'); print('to stderr', file=sys.stderr)
plt.figure(figsize=(3, 2)); plt.plot([1, 4, 2]); plt.title('a figure'); plt.show()
display(pd.DataFrame({'x': [1, 2, 3]}))
display(Latex(r'$\\frac{1}{2}$'))
display(Markdown('some **bold** text'))
display(JSON({'key': 'value in json'}))
handle = display('first', display_id=True)
handle.update('second')
for i in range(0, 101, 20): print(f'\\r{i} %', end='')
print()
'the value'
"""

CANARIES = """%%remote_exec --no-cache
from IPython.display import HTML, SVG, Javascript, Markdown, display
import base64
def beat(n): return f"window.__xss_{n}=1"
def page(n): return (f'<script>{beat(n)}</script><img src=x onerror="{beat(n)}"><svg onload="{beat(n)}"></svg>'
                     f'<iframe srcdoc="<script>parent.{beat(n)}</script>"></iframe>'
                     f'<details open ontoggle="{beat(n)}">x</details>'
                     '<div class="cx-canary" style="position:fixed;inset:0;z-index:99999;background:red">over</div>')
display(HTML(page('html')))
display(HTML(page('isolated')), metadata={'isolated': True})
display({'text/html': page('isolated2')}, metadata={'text/html': {'isolated': True}}, raw=True)
display(Markdown(page('markdown') + f'\\n\\n[link](javascript:{beat("link")}) <{beat("auto")}>'))
display(Javascript(beat('javascript')))
display({'image/svg+xml': f'<svg xmlns="http://www.w3.org/2000/svg" onload="{beat("svg")}"><script>{beat("svg2")}</script></svg>'}, raw=True)
display({'text/latex': f'$\\\\\\\\href{{javascript:{beat("latex")}}}{{x}}$'}, raw=True)
display({'application/vnd.jupyter.widget-view+json': {'version_major': 2, 'version_minor': 0, 'model_id': 'x'}}, raw=True)
display({'application/vnd.plotly.v1+json': {}, 'text/vnd.mermaid': 'x', 'application/x-evil': page('evil')}, raw=True)
display({'application/json': {page('json'): page('json2')}}, raw=True)
display({'image/png': base64.b64encode(page('png').encode()).decode()}, raw=True)
print(page('stdout')); print('\\x1b]8;;javascript:' + beat('osc') + '\\x1b\\\\\\\\link\\x1b]8;;\\x1b\\\\\\\\')
class Named(Exception): pass
Named.__name__ = page('ename')
raise Named(page('evalue'))
"""


def test_rich_output_looks_local(notebook: Open) -> None:
    """Figure, table, formula, Markdown, JSON, updates, clearing, progress and the last expression."""
    book = notebook(RICH)
    text = book.run(1)
    area = book.output(1)
    for words in ("to stdout", "to stderr", "some bold text", "second", "100 %", "'the value'", "Succeeded"):
        assert words in text, text
    for words in ("gone", "first", "20 %", "<Figure", "IPython.core"):
        assert words not in text, text
    assert area.locator("img").count() == 1
    assert area.locator("table.dataframe td").count() == 3
    assert area.locator("mjx-container, .MathJax").count() >= 1
    assert text.index("to stdout") < text.index("to stderr") < text.index("second") < text.index("the value")


def test_semicolon_suppresses_the_value(notebook: Open) -> None:
    """As in a local cell."""
    book = notebook("%%remote_exec --no-cache\n'hidden';", "%%remote_exec --no-cache\n'shown'")
    assert "hidden" not in book.run(1)
    assert "'shown'" in book.run(2)


def test_error_cell(notebook: Open) -> None:
    """The remote error fails the cell with the user's line, and Run All stops there."""
    book = notebook("%%remote_exec --no-cache\ndef half(x):\n    return x / 0\nhalf(3)", "print('must not run')")
    book.page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells') }")
    book.says(1, "ZeroDivisionError: division by zero")
    text = book.text(1)
    assert "return x / 0" in text
    assert "half(3)" in text
    assert "codeexec_magic/" not in text
    book.poll(lambda: book.prompt(2) != "[*]:", 10, "the cell after the failed one")
    assert "must not run" not in book.text(2)
    error = next(one for one in book.save().cells[1].outputs if one.output_type == "error")
    assert (error.ename, error.evalue) == ("ZeroDivisionError", "division by zero")


def test_script_canaries(notebook: Open) -> None:
    """Nothing a cell shows runs, links to script, or covers the page: live, in the background, saved and reloaded."""
    book = notebook(CANARIES, CANARIES.replace("%%remote_exec", "%%remote_exec --no-wait"), "'still here'")
    book.run(1)
    book.run(2)
    book.says(2, "Failed")
    assert_harmless(book)
    book.save()
    book.open()
    book.page.wait_for_timeout(500)
    assert_harmless(book)


def test_card_fields_are_text(notebook: Open) -> None:
    """A live card draws hostile names as text."""
    book = notebook(
        "from codeexec_magic.contract import Status\n"
        "from codeexec_magic.display import live, render\n"
        "from codeexec_magic.display.origin import Origin\n"
        "from codeexec_magic.store import JobState\n"
        'evil = \'"><img src=x onerror="window.__xss_card=1">\'\n'
        "card = live.LiveCard(Origin(get_ipython()), 'x')\n"
        "card.draw(render.card_html(JobState(evil, Status.RUNNING, evil, worker=evil), live=True, notes=[evil]))\n"
        "card.buttons({evil: lambda: None})\ncard.show(update=False)"
    )
    book.run(1)
    book.says(1, "onerror")
    assert_harmless(book)


def assert_harmless(book: Notebook) -> None:
    """No canary sang, nothing dangerous is in the page, nothing covers it."""
    assert book.page.evaluate("() => Object.keys(window).filter(name => name.startsWith('__xss'))") == []
    found: list[Any] = book.page.locator(".jp-OutputArea").evaluate_all(
        """areas => areas.flatMap(area => [...area.querySelectorAll('*')].filter(node =>
             node.matches('script, iframe, object, embed') ||
             [...node.attributes].some(a => a.name.startsWith('on') || /^\\s*javascript:/i.test(a.value)) ||
             getComputedStyle(node).position === 'fixed').map(node => node.outerHTML.slice(0, 200)))"""
    )
    assert found == []


def test_html_in_a_frame_on_request(notebook: Open) -> None:
    """``--html frame`` shows styled HTML in a frame whose script does not run."""
    book = notebook(
        "%%remote_exec --no-cache --html frame\nfrom IPython.display import HTML\n"
        "HTML('<style>b {color: red}</style><b>styled</b><script>parent.__xss_frame = 1</script>')"
    )
    book.run(1)
    frame = book.output(1).frame_locator("iframe")
    assert frame.locator("b").evaluate("b => getComputedStyle(b).color") == "rgb(255, 0, 0)"
    assert book.page.evaluate("() => window.__xss_frame") is None


def test_trust_runs_script_and_says_so(notebook: Open) -> None:
    """``--trust`` is what it says, and the card says it too."""
    book = notebook(
        "%%remote_exec --no-cache --trust\nfrom IPython.display import HTML\n"
        "HTML('<b>x</b><script>window.trusted_script = 1</script>')"
    )
    assert "trusted: HTML not sanitised" in book.run(1)
    assert book.page.evaluate("() => window.trusted_script") == 1
