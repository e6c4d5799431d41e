"""Cards in a real JupyterLab: live while the kernel is busy, true for ever afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from lab import Notebook

pytestmark = pytest.mark.browser
Open = Callable[..., Notebook]

SLOW = "%%remote_exec --no-cache\nimport time\nfor i in range(600):\n    print('line', i)\n    time.sleep(.1)\n"


def test_live_output_and_card(notebook: Open) -> None:
    """Output and state appear while the cell runs; the live card gives way to a static one that is saved."""
    book = notebook(
        "%%remote_exec --no-cache\nimport time\nfor i in range(60):\n    print('line', i); time.sleep(.1)\n6*7"
    )
    book.start(1)
    book.says(1, "line 0")
    assert book.prompt(1) == "[*]:"
    book.says(1, "Running")
    assert "line 59" not in book.text(1)
    book.wait_done(1)
    book.says(1, "Succeeded")
    text = book.text(1)
    assert "line 59" in text
    assert "42" in text
    assert text.count("Succeeded") == 1
    assert "Running" not in text
    assert book.output(1).locator(".cxm-box").count() == 0
    outputs = book.save().cells[1].outputs
    assert "✓ Succeeded" in outputs[-1].data["text/plain"]
    assert not any("widget-view" in mime for one in outputs for mime in one.get("data", {}))


def test_cancel_while_blocked(notebook: Open) -> None:
    """Cancel works while the cell blocks the kernel: it ends long before the cell would; the time is printed."""
    book = notebook(SLOW, "print('next')")
    book.start(1)
    book.says(1, "line 3")
    if book.kernel_major < 7:
        # such kernels handle clicks after the cell: no button then, and Stop does the same
        book.says(1, "Running")
        assert book.output(1).get_by_role("button", name="Cancel").count() == 0
        return
    pressed = time.monotonic()
    book.output(1).get_by_role("button", name="Cancel").click()
    book.says(1, "RemoteCancelled")
    print(f"Cancel: RemoteCancelled shown {time.monotonic() - pressed:.2f} s after the click")
    book.wait_done(1)
    assert "Cancelled" in book.text(1)
    assert "line 3" in book.text(1)
    assert "line 599" not in book.text(1)


def test_id_copies_whole(notebook: Open) -> None:
    """Eight characters are shown; a click selects the whole id, on the live card and on the static one."""
    book = notebook("%%remote_exec --no-cache\nimport time; time.sleep(2)\n_ = 1", "_remote.id")
    book.start(1)
    for words in ("Running", "Succeeded"):
        book.says(1, words)
        element = book.output(1).locator(".cxm-id").first
        element.click()
        selected = book.page.evaluate("() => getSelection().toString()").strip()
        box = element.bounding_box()
        assert box is not None
        assert box["width"] < 90
        assert len(selected) == 36
    book.wait_done(1)
    assert repr(selected) in book.run(2)


def test_retrying_is_shown(notebook: Open) -> None:
    """Between two runs the card counts down; the output of the run that failed is gone when the next one writes."""
    book = notebook("%%remote_exec --no-cache --timeout 1 --retries 1\nimport time\nprint('trying'); time.sleep(9)")
    book.start(1)
    book.says(1, "Retrying 1 of 1 in")
    book.says(1, "Running, 2nd run")
    book.wait_done(1)
    text = book.text(1)
    assert "Dead-lettered after 2 runs: time limit" in text
    assert text.count("trying") == 1 + text.count("print('trying')")


def test_place_in_line(notebook: Open, cluster: Any) -> None:
    """While others are before it a cell says how many, and it moves up."""
    busy = "%%remote_exec --no-cache --no-wait\nimport time; time.sleep(300)"
    book = notebook(*[busy] * 4, "%%remote_exec --no-cache\nprint('my turn')")
    for index in range(1, 5):
        book.run(index)
    fourth, third, second, first = (job.id for job in cluster.client.jobs(limit=4))
    try:
        book.start(5)
        # two run, two are before it
        book.says(5, "Queued · 3rd in line")
        for one, words in ((third, "Queued · 2nd in line"), (fourth, "Queued · 1st in line"), (first, "my turn")):
            cluster.client.cancel(one)
            book.says(5, words)
        book.wait_done(5)
    finally:
        for one in (first, second, third, fourth):
            cluster.client.cancel(one)
