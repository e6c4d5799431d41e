"""The queue panel in a real JupyterLab: it shows, submits, looks after dead letters, and stops when nobody looks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from lab import Notebook
from playwright.sync_api import Locator

pytestmark = pytest.mark.browser
Open = Callable[..., Notebook]

THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
FIGURE = "import matplotlib.pyplot as plt\nplt.plot([1, 3, 2])\nplt.show()\nprint('drawn')"


def panel(book: Notebook, index: int = 1) -> Locator:
    """The panel below a cell."""
    found = book.output(index).locator(".cxm-panel")
    found.wait_for(timeout=20_000)
    return found


def write(box: Locator, code: str) -> None:
    """Type into the code box."""
    box.locator(".cxm-code textarea").fill(code)


def test_submit_from_the_panel(notebook: Open) -> None:
    """A cell submitted in the panel shows its figure there; the same cell again is marked as cached."""
    book = notebook("panel = %remote_queue", "print(panel.job.result().stdout)")
    book.start(1)
    box = panel(book)
    code = f"{FIGURE}  # from the panel"
    write(box, code)
    box.get_by_role("button", name="Submit").click()
    opened = box.locator(".cxm-box")
    book.poll(lambda: "Succeeded" in opened.inner_text(), 30, "the job's end")
    opened.locator("img[src^='data:image/png']").wait_for(timeout=5000)
    assert "drawn" in opened.inner_text()
    assert "Cached" not in opened.inner_text()
    box.get_by_role("button", name="Submit").click()
    book.poll(lambda: "Cached" in opened.inner_text(), 30, "the cached marker")
    opened.locator("img[src^='data:image/png']").wait_for(timeout=5000)
    assert "drawn" in book.run(2)


@pytest.mark.parametrize("theme", THEMES)
def test_looks(notebook: Open, pictures: Path, theme: str) -> None:
    """The panel in both themes, with jobs in every state."""
    book = notebook(
        "%%remote_exec --no-wait --no-cache\nimport time\nfor i in range(300):\n    print('epoch', i); time.sleep(.1)",
        "for i in range(30):\n    get_ipython().run_cell_magic('remote_exec', '--no-wait --no-cache',"
        " f'import time; time.sleep(.4); {i} * 2')",
        "%%remote_exec --no-wait --no-cache --timeout 0.5 --retries 0\nprint('last words')\nwhile True: pass",
        "%%remote_exec --no-wait --no-cache\n1 / 0",
        "%remote_queue",
    )
    book.theme(THEMES[theme])
    for index in (1, 2, 3, 4, 5):
        book.run(index)
    box = panel(book, 5)
    book.page.set_viewport_size({"width": 1280, "height": 1900})
    write(box, FIGURE)
    box.locator("button.cxm-submit").click()
    book.poll(lambda: "Dead letters · 0" not in box.inner_text(), 60, "a dead letter")
    book.poll(lambda: "drawn" in box.inner_text(), 30, "the figure")
    book.page.wait_for_timeout(6000)
    box.screenshot(path=pictures / f"panel_{theme}.png")
