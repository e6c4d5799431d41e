"""Jobs that outlive their cell: background cells, page reloads, kernel restarts, Stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from lab import Notebook

pytestmark = pytest.mark.browser
Open = Callable[..., Notebook]


def ticking(marker: str, options: str = "", lines: int = 30) -> str:
    """A cell that prints a numbered line ten times a second."""
    return (
        f"%%remote_exec --no-cache {options}\nimport time\n"
        f"for i in range({lines}):\n    print('{marker}', i); time.sleep(.1)\n'{marker} is done'"
    )


def test_no_wait_stays_under_its_own_cell(notebook: Open) -> None:
    """Output of a background cell lands under it while other cells run, and is saved there."""
    book = notebook(
        ticking("first", "--no-wait"),
        "import time\nfor i in range(20):\n    print('local', i); time.sleep(.1)",
        ticking("second", "--no-wait", 5),
    )
    book.run(1)
    assert "submitted task" in book.text(1)
    book.start(2)
    book.start(3)
    book.says(2, "local 3")
    book.says(1, "first 3")
    book.wait_done(3)
    book.says(3, "second is done")
    book.says(1, "first is done")
    book.says(1, "Succeeded")
    texts = [book.text(i) for i in (1, 2, 3)]
    assert "first" not in texts[1] + texts[2]
    assert "local" not in texts[0] + texts[2]
    assert "second" not in texts[0] + texts[1]
    assert texts[0].count("first 29") == 1
    saved = book.save().cells[1].outputs
    assert "".join(one.text for one in saved if one.output_type == "stream").count("first 29") == 1
    assert not any("widget-view" in mime for one in saved for mime in one.get("data", {}))


def test_background_card_survives_a_reload(notebook: Open) -> None:
    """After a reload in mid-run card and output catch up, go on, and their button works."""
    book = notebook(ticking("tick", "--no-wait", 200))
    book.run(1)
    book.says(1, "tick 5")
    book.save()
    book.open()
    book.says(1, "tick 20")
    assert "Running" in book.text(1)
    assert book.text(1).count("tick 5\n") == 1
    book.output(1).get_by_role("button", name="Cancel").click()
    book.says(1, "Cancelled")
    assert "tick 199" not in book.text(1)


def test_background_card_finishes_after_a_reload(notebook: Open) -> None:
    """A page that was reloaded in mid-run keeps card and output of the finished job, once."""
    book = notebook(ticking("tick", "--no-wait", 60))
    book.run(1)
    book.says(1, "tick 5")
    book.save()
    book.open()
    book.says(1, "Succeeded", 30)
    book.says(1, "tick is done")
    assert book.text(1).count("tick 59") == 1


def test_background_error_is_shown_under_its_cell(notebook: Open) -> None:
    """A background cell that raises shows the remote traceback below itself."""
    book = notebook("%%remote_exec --no-cache --no-wait\nimport time; time.sleep(1)\nprint('before')\n1/0", "'other'")
    book.run(1)
    book.run(2)
    book.says(1, "ZeroDivisionError: division by zero")
    book.says(1, "Failed")
    assert "before" in book.text(1)
    assert "ZeroDivisionError" not in book.text(2)


def test_stop_cancels_and_stops_what_follows(notebook: Open) -> None:
    """Stop: one clean line, the card says cancelled, output so far stays, queued cells do not run."""
    book = notebook(ticking("tick", lines=600), "print('must not run')")
    book.start(1)
    book.start(2)
    book.says(1, "tick 3")
    pressed = time.monotonic()
    book.interrupt()
    book.says(1, "RemoteCancelled: task")
    book.wait_done(1)
    print(f"Stop: cell ended {time.monotonic() - pressed:.2f} s after the press")
    text = book.text(1)
    assert "Cancelled" in text
    assert "tick 3" in text
    assert "Traceback" not in text
    assert "threading" not in text
    book.poll(lambda: book.prompt(2) != "[*]:", 10, "the cell after the stopped one")
    assert "must not run" not in book.text(2)
    assert "tick 599" not in text


def test_second_stop_leaves_at_once(notebook: Open, cluster: Any) -> None:
    """When the worker does not answer, a second Stop does not wait for it."""
    book = notebook(ticking("tick", lines=300))
    book.start(1)
    book.says(1, "tick 3")
    cluster.freeze()
    try:
        book.interrupt()
        book.says(1, "Cancelling")
        pressed = time.monotonic()
        book.interrupt()
        book.wait_done(1)
        print(f"second Stop: cell ended {time.monotonic() - pressed:.2f} s after the press")
        assert "is being cancelled" in book.text(1)
        # one that had waited its time for the worker would have left a card
        assert book.output(1).locator(".cxm-card").count() == 0
    finally:
        cluster.thaw()


def test_stop_may_leave_the_task_running(notebook: Open) -> None:
    """With ``--on-interrupt detach`` Stop frees the kernel; the task goes on below its cell."""
    book = notebook(ticking("tick", "--on-interrupt detach", 40), "print('free')")
    book.start(1)
    book.says(1, "tick 3")
    book.interrupt()
    book.says(1, "goes on")
    book.wait_done(1)
    assert "free" in book.run(2)
    book.says(1, "tick is done", 30)
    book.says(1, "Succeeded")
    assert "tick" not in book.text(2)


@pytest.mark.parametrize("who", ["last", "id"])
def test_attach_after_a_restart(notebook: Open, cluster: Any, who: str) -> None:
    """After a kernel restart the job is found again: everything it wrote, nothing twice, then live to its end."""
    book = notebook(ticking(f"tick-{who}", "--no-wait", 60), "%load_ext codeexec_magic", "")
    book.run(1)
    book.says(1, f"tick-{who} 5")
    book.restart()
    book.run(2)
    task = "last" if who == "last" else cluster.client.jobs(limit=1)[0].id[:8]
    book.write(3, f"%remote_attach {task}")
    text = book.run(3)
    lines = [line for line in text.splitlines() if line.startswith(f"tick-{who} ")]
    assert lines == [f"tick-{who} {i}" for i in range(60)]
    assert f"tick-{who} is done" in text
    assert "Succeeded" in text


def test_wait_for_several(notebook: Open) -> None:
    """``%remote_wait`` shows a progress line, then one row per job."""
    book = notebook(ticking("a", "--no-wait", 15), ticking("b", "--no-wait", 15), "%remote_wait")
    book.run(1)
    book.run(2)
    book.start(3)
    book.says(3, "waiting for 2 jobs")
    book.wait_done(3)
    text = book.text(3)
    assert text.count("Succeeded") == 2
    assert "waiting for" not in text
    assert not text.startswith("\n")
    # what is saved has no trace of the line
    assert [one.output_type for one in book.save().cells[3].outputs if one.get("data")] == ["display_data"]


def test_no_worker_is_said_at_once(notebook: Open, cluster: Any) -> None:
    """With nobody listening the card says so while the cell waits, and goes on when a worker comes."""
    book = notebook("%%remote_exec --no-cache\nprint('at last')")
    cluster.stop_worker()
    try:
        started = time.monotonic()
        book.start(1)
        book.says(1, "0 workers listen on code_execution")
        print(f"no worker: said {time.monotonic() - started:.2f} s after the start")
        assert book.prompt(1) == "[*]:"
    finally:
        cluster.start_worker()
    book.wait_done(1)
    assert "at last" in book.text(1)
