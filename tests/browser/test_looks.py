"""Pictures of every card in both themes, from real widgets in a real page; ``CODEEXEC_PICTURES=dir`` keeps them."""

# ruff: noqa: E501
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from lab import Notebook

pytestmark = pytest.mark.browser
Open = Callable[..., Notebook]
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}

GALLERY = """
from dataclasses import replace
from IPython.display import HTML, display
from codeexec_magic.contract import Reason, Status
from codeexec_magic.display import live_card, render
from codeexec_magic.display.parent_cell import ParentCell
from codeexec_magic.store import JobState

base = JobState('46f61b34-9d1c-4f0e-8a55-1f0e27d5c9aa', Status.SUCCEEDED, 'code_execution', listeners=1,
                worker='worker-1@node-a', attempt=1, waited_s=0.3, ran_s=4.2)
moving = {
    'queued': (replace(base, status=Status.QUEUED, worker=None, attempt=0, position=3, waited_s=2.1, ran_s=0), ['Cancel']),
    'no worker': (replace(base, status=Status.QUEUED, worker=None, attempt=0, listeners=0, waited_s=2.1, ran_s=0), ['Cancel']),
    'running': (replace(base, status=Status.RUNNING, waited_s=1.4, ran_s=12.6), ['Cancel']),
    'retrying': (replace(base, status=Status.RETRYING, failures=2, retries=3, next_try_in_s=12), ['Cancel']),
    'cancelling': (replace(base, status=Status.RUNNING, cancelling=True), []),
}
still = {
    'succeeded': base,
    'cached': replace(base, cached=True, cached_age_s=250, cached_from='ab12cd34', waited_s=0),
    'trusted': base,
    'failed': replace(base, status=Status.FAILED, reason=Reason.ERROR, worker='worker-2@node-a', waited_s=.2, ran_s=1.1),
    'dead': replace(base, status=Status.DEAD_LETTERED, reason=Reason.MEMORY, attempt=4, waited_s=3.1, ran_s=60, retries=3,
                    verdict='memory: 1024 MB limit reached, peak 1024 MB after 60.0 s; --memory 2048MB raises it'),
    'cancelled': replace(base, status=Status.CANCELLED, reason=Reason.CANCELLED),
}
parent_cell = ParentCell(get_ipython())
for name, (state, buttons) in moving.items():
    card = live_card.LiveCard(parent_cell, name, task_id=base.id)
    card.draw(render.card_html(state, live=True, phase=0.0, name=False, notes=render.advice(state)))
    card.buttons({label: lambda: None for label in buttons})
    card.show(update=False)
for name, state in still.items():
    display(HTML(render.card_html(state, notes=render.advice(state), trusted=name == 'trusted')))
"""


@pytest.mark.parametrize("theme", THEMES)
def test_every_card_in_both_themes(notebook: Open, pictures: Path, theme: str) -> None:
    """Every state is drawn, in one row, with readable contrast between text and card."""
    book = notebook(GALLERY)
    book.theme(THEMES[theme])
    book.start(1)
    book.says(1, "Dead-lettered after 4 runs: memory limit")
    book.says(1, "Cancelling")
    area = book.output(1)
    assert area.locator(".cxm-pill").count() >= 12
    for row in area.locator(".cxm-row").all():
        box = row.bounding_box()
        assert box is not None
        assert box["height"] < 60, row.inner_text()
    contrasts = area.locator(".cxm-pill").evaluate_all(_CONTRAST)
    area.screenshot(path=pictures / f"cards_{theme}.png")
    assert min(contrasts) >= 3.0, contrasts


#: contrast of each element's text against all that is painted behind it, as WCAG counts it
_CONTRAST = """nodes => nodes.map(node => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const paint = colours => { for (const c of colours) { canvas.fillStyle = c; canvas.fillRect(0, 0, 1, 1) }
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3) };
  const light = rgb => { const [r, g, b] = rgb.map(v => { v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4 });
    return .2126 * r + .7152 * g + .0722 * b };
  const behind = [];
  for (let one = node; one; one = one.parentElement) behind.unshift(getComputedStyle(one).backgroundColor);
  const [a, b] = [light(paint([...behind, getComputedStyle(node).color])), light(paint(behind))];
  return (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
})"""

STORY = (
    "%%remote_exec --no-cache\nimport time\nfor epoch in range(1, 9):\n    print(f'epoch {epoch}/8  loss {1 / epoch:.3f}')\n    time.sleep(.4)",
    "%%remote_exec\nimport pandas as pd, numpy as np, matplotlib.pyplot as plt\nx = np.linspace(0, 10, 200)\nplt.figure(figsize=(6, 2)); plt.plot(x, np.sin(x)); plt.title('drawn on the worker'); plt.show()\npd.DataFrame({'city': ['Oslo', 'Lima'], 'people': [717_710, 10_092_000]})",
    "%%remote_exec\nimport pandas as pd, numpy as np, matplotlib.pyplot as plt\nx = np.linspace(0, 10, 200)\nplt.figure(figsize=(6, 2)); plt.plot(x, np.sin(x)); plt.title('drawn on the worker'); plt.show()\npd.DataFrame({'city': ['Oslo', 'Lima'], 'people': [717_710, 10_092_000]})",
    "%%remote_exec --no-cache\ndef share(total, parts):\n    return total / len(parts)\n\nshare(10, [])",
    "%%remote_exec --no-cache --timeout 1 --retries 0\nimport time\ntime.sleep(60)",
    "%%remote_exec --no-wait --no-cache\nimport time\nfor i in range(50):\n    print('in the background', i); time.sleep(.2)",
    "%remote_jobs -n 6",
    "%remote_dlq show",
)


@pytest.mark.parametrize("theme", THEMES)
def test_a_notebook_in_both_themes(notebook: Open, pictures: Path, theme: str) -> None:
    """The cells of an ordinary day, photographed while they run and when they have."""
    book = notebook(*STORY)
    book.theme(THEMES[theme])
    book.start(1)
    book.says(1, "epoch 4/8")
    book.cell(1).screenshot(path=pictures / f"running_{theme}.png")
    book.wait_done(1)
    for index in range(2, len(STORY) + 1):
        book.run(index)
    book.says(6, "in the background 3")
    limit = book.output(5).locator(".ansi-bold", has_text="raises it")
    assert limit.evaluate_all(_CONTRAST)[0] >= 4.5
    for index in range(1, len(STORY) + 1):
        book.cell(index).screenshot(path=pictures / f"cell_{index}_{theme}.png")
    assert "Cached" in book.text(3)
