"""Finding one's way: help, completion, mistakes, dead letters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from lab import Notebook

pytestmark = pytest.mark.browser
Open = Callable[..., Notebook]


def test_help(notebook: Open) -> None:
    """``%%remote_exec?`` lists the options."""
    book = notebook("%%remote_exec?")
    book.run(0)
    book.start(1)
    for words in ("--no-wait", "--timeout", "Run this cell on a worker"):
        book.poll(lambda words=words: words in book.page.inner_text("body"), 20, words)


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("%%remote_exec --que", "--queue"),
        ("%%remote_exec --queue code_execution_", "code_execution_heavy"),
        ("%%remote_exec --in my_da", "my_data"),
        ("%remote_attach la", "last"),
        ("%remote_dlq req", "requeue"),
    ],
)
def test_completion(notebook: Open, typed: str, offered: str) -> None:
    """Tab completes options, queues, variables, ids and actions in the editor."""
    book = notebook("my_data = 1", "")
    book.run(1)
    editor = book.cell(2).locator(".cm-content")
    editor.click()
    book.page.keyboard.type(typed)
    book.page.keyboard.press("Tab")
    book.poll(lambda: offered in editor.inner_text() or offered in _offered(book), 20, offered)


def _offered(book: Notebook) -> str:
    """What the open completion menu offers."""
    menu = book.page.locator(".jp-Completer:visible, .cm-tooltip-autocomplete:visible")
    return menu.first.inner_text() if menu.count() else ""


def test_mistakes_are_one_line(notebook: Open) -> None:
    """Unknown option, unknown queue and bad syntax: one clear line each, and no traceback of ours."""
    book = notebook(
        "%%remote_exec --quee x\n1",
        "%%remote_exec --queue code_executoin\n1",
        "%%remote_exec\nx = = 1",
    )
    assert "unknown option --quee: did you mean --queue?" in book.run(1)
    assert "did you mean code_execution?" in book.run(2)
    text = book.run(3)
    assert "SyntaxError: invalid syntax" in text
    assert "x = = 1" in text
    for index in (1, 2, 3):
        assert "Traceback" not in book.text(index)


def test_braces_are_left_alone(notebook: Open) -> None:
    """Code with braces and dollars runs as it is written."""
    book = notebook("x = 'local'", "%%remote_exec --no-cache\nx = 'remote'\nprint('{x}', f'{x}', '$x')")
    book.run(1)
    assert "{x} remote $x" in book.run(2)


def test_dead_letter_buttons(notebook: Open, cluster: Any) -> None:
    """A dead letter offers Requeue, Edit and Drop; an edited requeue runs below the same cell and clears the letter."""
    book = notebook("%%remote_exec --no-cache --timeout 1 --retries 0\nimport time\ntime.sleep(30)\nprint('too late')")
    book.run(1)
    text = book.text(1)
    assert "Dead-lettered after 1 run: time limit" in text
    assert "SoftTimeLimitExceeded" in text
    task = cluster.client.jobs(limit=1)[0].id
    book.output(1).get_by_role("button", name="Edit").click()
    area = book.output(1).locator("textarea")
    area.wait_for()
    assert "time.sleep(30)" in area.input_value()
    area.fill("print('repaired')")
    area.blur()
    book.output(1).get_by_role("button", name="Requeue edited").click()
    book.says(1, "repaired")
    book.says(1, "Succeeded")
    assert cluster.client.job(task).status == "succeeded"
    assert task not in [letter.task_id for letter in cluster.client.dead_letters()]


def test_dead_letter_requeue_and_drop(notebook: Open, cluster: Any) -> None:
    """Requeue runs it again; when it dies again, Drop forgets it and the row goes."""
    book = notebook("%%remote_exec --no-cache --timeout 1 --retries 0\nimport time\nprint('try'); time.sleep(30)")
    book.run(1)
    task = cluster.client.jobs(limit=1)[0].id
    book.output(1).get_by_role("button", name="Requeue").click()
    book.poll(lambda: cluster.client.job(task).state().attempt == 1 and not cluster.client.job(task).done, 20)
    book.poll(lambda: book.text(1).count("Dead-lettered after 1 run") == 2, 30, "the second dead letter")
    book.output(1).get_by_role("button", name="Drop").click()
    book.poll(lambda: task not in [one.task_id for one in cluster.client.dead_letters()], 20, "the drop")
    book.poll(lambda: book.output(1).get_by_role("button", name="Drop").count() == 0, 20, "the row to go")
