"""What a cell shows, and what it cannot do to the page."""
# ruff: noqa: E501

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
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

#: shows every kind of MIME type there is, each with scripts that would leave their name in the page's ``window``
CANARIES = r"""%%remote_exec --no-cache
from IPython.display import HTML, display
import base64
def beat(n): return f"window.__xss_{n}=1"
def page(n): return (f'<script>{beat(n)}</script><img src=x onerror="{beat(n)}"><svg onload="{beat(n)}"></svg>'
                     f'<iframe srcdoc="<script>parent.{beat(n)}</script>"></iframe>'
                     f'<details open ontoggle="{beat(n)}">x</details><video src=x onerror="{beat(n)}"></video>'
                     f'<a href="javascript:{beat(n)}">x</a>' + OVER)
OVER = '<div style="position:fixed;inset:0;z-index:99999;background:red">over</div>'
def show(mime, value, metadata=None): display({mime: value}, metadata=metadata or {}, raw=True)
def b64(data): return base64.b64encode(data if isinstance(data, bytes) else data.encode()).decode()

display(HTML(page('html')))
display(HTML(page('isolated')), metadata={'isolated': True})
show('text/html', page('isolated2'), {'text/html': {'isolated': True}, 'isolated': True})
show('text/html', [page('lines')[:9], page('lines')[9:]])
handle = display(HTML('<b>harmless at first</b>'), display_id=True)
handle.update(HTML(page('update')))
handle.update({'text/html': page('update2'), 'application/javascript': beat('update3')}, raw=True)
display({'text/html': page('beside'), 'text/plain': page('plain')}, raw=True)

for kind, magic in (('png', b'\x89PNG\r\n\x1a\n'), ('jpeg', b'\xff\xd8\xff\xe0'), ('gif', b'GIF89a')):
    show('image/' + kind, b64(page('is_' + kind)))
    show('image/' + kind, b64(magic + page('in_' + kind).encode()), {'image/' + kind: {
        'width': f'1" onerror="{beat("width")}', 'height': 9, 'unconfined': True, 'isolated': True,
        'needs_background': f'light" onload="{beat("background")}'}})
    show('image/' + kind, f'" onerror="{beat("quote_" + kind)}')
for kind in ('webp', 'bmp', 'x-icon', 'avif'): show('image/' + kind, b64(page(kind.replace('-', '_'))))

XMLNS = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
SVG = (f'<svg {XMLNS} onload="{beat("svg")}" width="20" height="20"><script>parent.{beat("svg2")};{beat("svg3")}</script>'
       f'<foreignObject width="20" height="20"><body xmlns="http://www.w3.org/1999/xhtml">{page("foreign")}</body></foreignObject>'
       f'<a xlink:href="javascript:{beat("svg4")}"><text y="9">x</text></a><animate onbegin="{beat("svg5")}" attributeName="x"/></svg>')
BAR = {'left': page('bar'), 'right': page('bar2'), 'share': .5, 'state': 'running', 'colour': f'red"onload="{beat("bar3")}'}
show('application/vnd.codeexec.progress+json', BAR)
show('application/vnd.codeexec.progress+json', {**BAR, 'state': page('bar4'), 'share': page('bar5')})
show('image/svg+xml', SVG, {'image/svg+xml': {'isolated': True, 'width': 5}})
show('image/svg+xml', f'"><script>{beat("svg6")}</script>')
show('text/html', SVG)

show('text/markdown', page('markdown') + f'\n\n[link](javascript:{beat("md1")}) <javascript:{beat("md2")}> '
     f'![x](x"onerror="{beat("md3")}) $\\href{{javascript:{beat("md4")}}}{{x}}$\n\n[ref]\n\n[ref]: javascript:{beat("md5")}')
show('text/markdown', f'```mermaid\ngraph TD; A["{page("mermaid")}"]; click A "javascript:{beat("mermaid2")}"\n```')
for i, command in enumerate((
    r'\href{javascript:%s}{x}', r'\url{javascript:%s}', r'\style{position:fixed;inset:0;background:red}{%s}',
    r'\html{<img src=x onerror="%s">}', r'\htmlStyle{position:fixed;inset:0}{%s}', r'\htmlId{main}{%s}',
    r'\htmlClass{jp-Dialog}{%s}', r'\htmlData{commandlinker-command=%s}{x}', r'\class{jp-Dialog}{%s}', r'\cssId{main}{%s}',
    r'\data{commandlinker-command=%s}{x}', r'\require{html}\href{javascript:%s}{x}', r'\let\go=\href \go{javascript:%s}{x}',
    r'\mmlToken{mi}[href="javascript:%s"]{x}', r'\mmlToken{mi}[style="position:fixed;inset:0"]{%s}',
    r'\csname href\endcsname{javascript:%s}{x}', r'\bbox[position:fixed,red]{%s}', r'\includegraphics{javascript:%s}',
    r'\smash{\raise 20em \rule{60em}{60em}} %s', r'\unicode[x;position:fixed]{65} %s',
)):
    for mime in ('text/latex', 'text/html', 'text/markdown'):
        show(mime, '$' + command % beat(f'latex{i}') + '$')
show('text/latex', page('latex'))
show('application/json', {page('json'): page('json2'), 'deep': [{'x': page('json3')}]}, {'application/json': {'expanded': True}})
show('application/json', page('json4'))

show('application/pdf', b64(page('pdf')))
show('application/pdf', b64(f'%PDF-1.7 1 0 obj<</OpenAction<</S/JavaScript/JS({beat("pdf2")})>>>>endobj'))
for mime in ('video/mp4', 'video/webm', 'audio/mpeg', 'audio/wav'): show(mime, b64(page(mime.replace('/', '_'))))
show('video/mp4', f'"><script>{beat("video")}</script>')
for i, mime in enumerate(('application/javascript', 'text/javascript', 'application/x-javascript', 'application/ecmascript',
                          'application/vnd.bokehjs_exec.v0+json', 'application/vnd.bokehjs_load.v0+json',
                          'application/vnd.holoviews_exec.v0+json', 'application/vnd.jupyter.es6-rich-output')):
    show(mime, beat(f'script{i}'))
for i, mime in enumerate(('application/xhtml+xml', 'application/xml', 'text/xml', 'text/vnd.mermaid', 'application/x-evil',
                          'application/vnd.vdom.v1+json', 'application/vnd.jupyter.stdout', 'application/vnd.jupyter.stderr',
                          'TEXT/HTML', 'text/html ', 'text/html; charset=utf-8', 'Text/Html', 'text/html\0', page('mime_name'))):
    show(mime, page(f'typed{i}'))
show('application/vnd.jupyter.error', {'name': page('error'), 'message': page('error2'), 'stack': page('error3')})
show('application/vnd.plotly.v1+json', {'data': [], 'layout': {'title': page('plotly')}})
show('application/vnd.vegalite.v5+json', {'mark': 'point', 'data': {'url': 'x'}, 'title': page('vega')})
show('application/geo+json', {'type': 'Feature', 'properties': {'x': page('geo')}})
show('application/vnd.dataresource+json', {'data': [{'x': page('table')}]})
show('application/vnd.jupyter.widget-view+json', {'version_major': 2, 'version_minor': 0, 'model_id': 'x'})
show('application/vnd.jupyter.widget-state+json', {'state': {'x': {'model_name': 'HTMLModel', 'state': {'value': page('state')}}}})

print(page('stdout')); print('\x1b]8;;javascript:' + beat('osc') + '\x1b\\link\x1b]8;;\x1b\\')
class Shown:
    def _repr_mimebundle_(self, **_): return {'text/html': page('result'), 'application/javascript': beat('result2')}
print('all shown')
Shown()
"""
HOSTILE_ERROR = r"""%%remote_exec --no-cache
def page(n): return f'<script>window.__xss_{n}=1</script><img src=x onerror="window.__xss_{n}=1">'
class Named(Exception): pass
Named.__name__ = Named.__qualname__ = page('ename')
raise Named(page('evalue') + '\x1b]8;;javascript:window.__xss_osc=1\x1b\\link\x1b]8;;\x1b\\')
"""
#: what the rules let through, and so all that may ever stand in a saved notebook
HARMLESS_TYPES = {"text/plain", "text/html", "image/png", "image/jpeg", "image/gif", "application/json", "text/latex"}


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


def test_progress_bars_of_tqdm(notebook: Open, pictures: Path) -> None:
    """Bars move while the cell runs, an inner one goes away, the last state is saved, and none is in the error box."""
    book = notebook(
        "%%remote_exec --no-cache\nfrom tqdm.auto import tqdm\nimport time\nfor i in tqdm(range(4), desc='outer'):\n"
        "    for j in tqdm(range(20), desc='inner', leave=False): time.sleep(.03)"
    )
    book.start(1)
    bars = book.output(1).locator(".cxm-progress")
    book.poll(lambda: bars.count() == 2 and "1/4" in bars.nth(0).inner_text(), what="two bars")
    assert book.prompt(1) == "[*]:"
    filled = bars.nth(0).locator("[role=progressbar] > span")
    parts = ("25%", "50%", "75%")
    book.poll(lambda: filled.evaluate("bar => bar.style.width") in parts, what="a part of the bar that is filled")
    book.cell(1).screenshot(path=pictures / "tqdm.png")
    book.wait_done(1)
    assert bars.count() == 1
    assert "4/4" in bars.inner_text()
    assert book.output(1).locator("[data-mime-type$=stderr]").count() == 0
    saved = [one.data for one in book.save().cells[1].outputs if one.get("data")]
    assert saved[0]["text/plain"].startswith("outer: 100%")
    assert sorted(saved[0]) == ["text/html", "text/plain"]


def test_script_canaries(notebook: Open) -> None:
    """Nothing a cell shows runs, links to script, or covers the page: live, in the background, saved and reloaded."""
    behind = "%%remote_exec --no-wait"
    book = notebook(
        CANARIES,
        CANARIES.replace("%%remote_exec", behind),
        HOSTILE_ERROR,
        HOSTILE_ERROR.replace("%%remote_exec", behind),
        "'still here'",
    )
    assert "all shown" in book.run(1)
    book.says(1, "Succeeded")
    book.run(2)
    book.says(2, "all shown")
    book.says(2, "Succeeded")
    assert "onerror" in book.run(3)
    book.run(4)
    book.says(4, "Failed")
    assert_harmless(book)
    outputs = [one for cell in book.save().cells[1:] for one in cell.outputs]
    assert {mime for one in outputs for mime in one.get("data", {})} <= HARMLESS_TYPES
    book.open()
    book.says(2, "all shown")
    # formulas and images of a loaded page come late
    book.page.wait_for_load_state("networkidle")
    assert_harmless(book)


def test_the_canaries_can_sing(notebook: Open) -> None:
    """The same cell trusted: its scripts run, so their silence elsewhere means something."""
    book = notebook(CANARIES.replace("--no-cache", "--no-cache --trust"), outside=True)
    book.start(1)
    # of two updates that follow each other at once only the last need be drawn
    awaited = {f"__xss_{name}" for name in ("html", "isolated", "lines", "markdown", "script0")}
    updates = {"__xss_update", "__xss_update2", "__xss_update3"}

    def all_sing() -> bool:
        heard = set(book.page.evaluate("() => Object.keys(window)"))
        return awaited <= heard and not updates.isdisjoint(heard)

    book.poll(all_sing, 80, "the song of every canary")


def test_card_fields_are_text(notebook: Open) -> None:
    """A live card draws hostile names as text."""
    book = notebook(
        "from codeexec_magic.contract import Status\n"
        "from codeexec_magic.display import live_card, render\n"
        "from codeexec_magic.display.parent_cell import ParentCell\n"
        "from codeexec_magic.store import JobState\n"
        'evil = \'"><img src=x onerror="window.__xss_card=1">\'\n'
        "card = live_card.LiveCard(ParentCell(get_ipython()), 'x')\n"
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
    for cell in book.page.locator(".jp-Notebook .jp-CodeCell").all():
        over = cell.locator(".cm-line").first.evaluate(_WHAT_COVERS)
        assert over is None, over


#: what is drawn over an element; None if that is what one sees where it is
_WHAT_COVERS = """node => {
  node.scrollIntoView({block: 'center'});
  const at = node.getBoundingClientRect();
  const seen = document.elementFromPoint(at.left + 5, at.top + at.height / 2);
  return node.contains(seen) ? null : `${seen?.outerHTML.slice(0, 200)} over ${node.outerHTML.slice(0, 200)}`;
}"""


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
