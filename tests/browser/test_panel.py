"""The queue panel in a real JupyterLab: it shows, submits, looks after dead letters, and stops when nobody looks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from lab import Notebook
from live_cluster import LiveCluster
from playwright.sync_api import Locator
from support import wait_until

from codeexec_magic.display import theme

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
Open = Callable[..., Notebook]

THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
FIGURE = "import matplotlib.pyplot as plt\nplt.plot([1, 3, 2])\nplt.show()\nprint('drawn')"
HANGS = "print('last words')\nwhile True: pass"


def panel(book: Notebook, index: int = 1) -> Locator:
    """The panel below a cell."""
    book.start(index)
    found = book.output(index).locator(".cxm-panel")
    found.wait_for(timeout=30_000)
    return found


def write(box: Locator, code: str) -> None:
    """Type into the code box."""
    box.locator(".cxm-code textarea").fill(code)


def tile(box: Locator, name: str) -> str:
    """What the tile of this name says."""
    return str(box.locator(".cxm-kpi > div").filter(has_text=name).locator("b").inner_text())


def dead_letter(cluster: LiveCluster) -> str:
    """The id of a new one."""
    job = cluster.client.submit(HANGS, timeout=0.5, retries=0, cache=False)
    job.result(60)
    return str(job.id)


def reads(cluster: LiveCluster) -> int:
    """Scripts the server has run so far."""
    return int(cluster.client.store.redis.info("commandstats").get("cmdstat_evalsha", {}).get("calls", 0))


@pytest.fixture
def without_worker(cluster: LiveCluster) -> Iterator[None]:
    """Nobody but the panel talks to the server."""
    cluster.stop_worker()
    yield
    cluster.start_worker()


def test_submit_from_the_panel(notebook: Open) -> None:
    """A cell submitted in the panel shows its figure there; the same cell again is marked as cached."""
    book = notebook("panel = %remote_queue", "print(panel.job.result().stdout)")
    box = panel(book)
    write(box, f"{FIGURE}  # {time.time()}")
    box.locator("button.cxm-submit").click()
    opened = box.locator(".cxm-box")
    book.poll(lambda: opened.count() and "Succeeded" in opened.inner_text(), 60, "the job's end")
    opened.locator("img[src^='data:image/png']").wait_for(timeout=5000)
    assert "drawn" in opened.inner_text()
    assert "Cached" not in opened.inner_text()
    box.locator("button.cxm-submit").click()
    book.poll(lambda: "Cached" in opened.inner_text(), 30, "the cached marker")
    opened.locator("img[src^='data:image/png']").wait_for(timeout=5000)
    assert "drawn" in book.run(2)


def test_keys_history_and_copies(notebook: Open) -> None:
    """Tab indents, Shift-Enter submits what was typed to its last key, and code goes both ways."""
    book = notebook("%remote_queue", "6 * 7  # from the history")
    book.run(2)
    box = panel(book)
    area = box.locator(".cxm-code textarea")
    area.click()
    book.page.keyboard.type("if True:")
    book.page.keyboard.press("Enter")
    book.page.keyboard.press("Tab")
    book.page.keyboard.type("print('typed', 6 * 7)")
    book.page.keyboard.press("Shift+Enter")
    opened = box.locator(".cxm-box")
    book.poll(lambda: opened.count() and "typed 42" in opened.inner_text(), 60, "the output")
    assert area.input_value() == "if True:\n    print('typed', 6 * 7)"
    assert book.prompt(1) != "[*]:"
    book.poll(lambda: "Run again" in opened.inner_text(), 20, "the end")
    opened.get_by_role("button", name="Copy into a new cell").click()
    book.poll(lambda: "print('typed', 6 * 7)" in book.cell(2).inner_text(), 10, "the new cell")
    assert "%%remote_exec --queue code_execution" in book.cell(2).inner_text()
    box.locator("select").first.select_option(label="[2] 6 * 7 # from the history")
    book.poll(lambda: area.input_value() == "6 * 7  # from the history", 10, "the cell's code")
    opened.get_by_role("button", name="Run again").click()
    book.poll(lambda: "Cached" not in opened.inner_text() and "Succeeded" in opened.inner_text(), 60, "a second run")


def test_dead_letters_by_buttons(notebook: Open, cluster: LiveCluster) -> None:
    """A dead letter is requeued, edited until it works, and another one dropped; Purge asks first."""
    client = cluster.client
    client.purge_dead_letters()
    first, second = dead_letter(cluster), dead_letter(cluster)
    before = client.dead_letter(first).last_at
    book = notebook("%remote_queue")
    box = panel(book)

    def row(task_id: str) -> Locator:
        return box.locator(".cxm-item").filter(has=box.page.locator(f'[data-letter="{task_id}"]'))

    book.poll(lambda: row(first).count() and row(second).count(), 20, "both dead letters")
    assert "time limit" in row(first).inner_text()
    assert "last words" in row(first).inner_text()
    book.page.wait_for_timeout(700)  # a row that has just appeared ignores clicks
    row(second).get_by_role("button", name="Open").click()
    for words in ("Ended by", "Code", "while True: pass", "Error", "SoftTimeLimitExceeded", "Last output"):
        book.poll(lambda words=words: words in box.inner_text(), 20, words)
    row(first).get_by_role("button", name="Requeue").click()
    book.poll(lambda: any(x.task_id == first and x.last_at > before for x in client.dead_letters()), 60, "a new end")
    row(second).get_by_role("button", name="Drop").click()
    book.poll(lambda: all(x.task_id != second for x in client.dead_letters()), 20, "the drop")
    book.poll(lambda: row(second).count() == 0 and row(first).count() == 1, 20, "the list")
    book.page.wait_for_timeout(700)
    row(first).get_by_role("button", name="Edit", exact=True).click()
    area = box.locator(".cxm-code textarea")
    book.poll(lambda: area.input_value() == HANGS, 10, "its code")
    write(box, "print('healed')")
    box.locator("button.cxm-submit").click()
    book.poll(lambda: "healed" in box.locator(".cxm-box").inner_text(), 60, "the edited run")
    book.poll(lambda: not client.dead_letters(), 20, "no dead letter")
    assert client.job(first).result(5).stdout == "healed\n"
    third = dead_letter(cluster)
    book.poll(lambda: row(third).count(), 20, "a third one")
    row(third).get_by_role("button", name="edit in new cell").click()
    book.poll(lambda: f"%%remote_dlq requeue {third[:8]}" in book.cell(2).inner_text(), 20, "the new cell")
    box.get_by_role("button", name="Purge").click()
    book.poll(lambda: "Forget 1 dead letter?" in box.inner_text(), 10, "the question")
    assert client.dead_letters()
    box.get_by_role("button", name="Yes").click()
    book.poll(lambda: not client.dead_letters(), 10, "the purge")


def test_reads_stop_when_closed_or_out_of_sight(notebook: Open, cluster: LiveCluster, without_worker: None) -> None:
    """One script a second while it is seen, however often its cell ran; hidden none, seen again some, closed none."""
    book = notebook("%remote_queue")
    panel(book)
    book.wait_done(1)
    book.run(1)
    box = panel(book)
    start, count = time.monotonic(), reads(cluster)
    book.poll(lambda: reads(cluster) >= count + 4, 20, "four reads")
    assert time.monotonic() - start > 2.5, "more than about one read a second"
    box.evaluate("box => { box.style.display = 'none' }")
    quiet = [reads(cluster), time.monotonic()]

    def silent() -> bool:
        now = reads(cluster)
        if now != quiet[0]:
            quiet[:] = [now, time.monotonic()]
        return time.monotonic() - quiet[1] > 3

    book.poll(silent, 30, "silence")
    box.evaluate("box => { box.style.display = '' }")
    book.poll(lambda: reads(cluster) >= quiet[0] + 3, 20, "reads again")
    box.get_by_role("button", name="Close").first.click()
    book.says(1, "as of")
    closed = reads(cluster)
    until = time.monotonic() + 4
    book.poll(lambda: time.monotonic() > until, 10, "a while")
    assert reads(cluster) == closed
    assert "No worker is alive" in book.text(1)
    saved = book.save().cells[1].outputs[-1].data
    assert "as of" in saved["text/html"]


def test_broker_outage_and_recovery(notebook: Open, cluster: LiveCluster, without_worker: None) -> None:
    """The panel says that the broker is away, keeps what it showed, and goes on when it is back."""
    book = notebook("%remote_queue")
    box = panel(book)
    book.poll(lambda: "Live" in box.inner_text(), 20, "life")
    cluster.server.kill()
    try:
        book.poll(lambda: "Broker away for" in box.inner_text(), 20, "the outage")
        assert "code_execution_heavy" in box.inner_text()
    finally:
        cluster.server.start()
    book.poll(lambda: "Live" in box.inner_text(), 30, "recovery")
    assert "Broker away" not in box.inner_text()


@pytest.fixture
def second_worker(cluster: LiveCluster) -> Iterator[Path]:
    """One more worker with one slot; its log."""
    env = {**os.environ, **cluster.env, "CODEEXEC_SLOTS": "1"}
    command = [sys.executable, "-m", "celery", "-A", "worker.app", "worker", "-Q", "code_execution", "-n", "second@%h"]
    path = cluster.directory / "second.log"
    with path.open("wb") as log:
        second = subprocess.Popen(command, env=env, cwd=cluster.directory, stdout=log, stderr=log)
    try:
        wait_until(lambda: any(w.id.startswith("second@") and w.alive for w in cluster.client.workers()), 60)
        yield path
    finally:
        second.terminate()
        second.wait(30)


def logged_waits(paths: Sequence[Path], ids: set[str]) -> dict[str, int]:
    """Wait times of these jobs from the workers' logs."""
    found = {}
    for path in paths:
        for line in path.read_text().splitlines():
            if '"event": "executed"' in line:
                entry = json.loads(line[line.index("{") :])
                if entry["task_id"] in ids:
                    found[entry["task_id"]] = entry["wait_time_ms"]
    return found


def test_numbers_agree_under_load(notebook: Open, cluster: LiveCluster, second_worker: Path) -> None:
    """While two workers run 200 cells, panel, server, log and command line tell the same; hostile labels stay text."""
    client, store = cluster.client, cluster.client.store
    book = notebook("%remote_queue")
    box = panel(book)
    counters = store.redis.hgetall(f"{store.prefix}counters")
    evil = "<img src=x onerror='window.__xss=1'>"
    jobs = [client.submit(f"import time; time.sleep(.2); {i}", cache=False, label=evil) for i in range(200)]
    line = [sys.executable, "-c", "from codeexec_magic.cli import main; main()", "queue", "--json"]
    asked = subprocess.Popen(line, env={**os.environ, **cluster.env}, stdout=subprocess.PIPE, text=True)
    told: dict[str, Any] = {}
    depths: list[tuple[float, int]] = []
    compared, deadline = 0, time.monotonic() + 120
    while time.monotonic() < deadline and not (depths and depths[-1][1] == 0):
        shown = int(tile(box, "Queued"))
        depths.append((time.monotonic(), store.redis.zcard(f"{store.prefix}queued:code_execution")))
        recent = [depth for at, depth in depths if time.monotonic() - at < 5]
        if time.monotonic() - depths[0][0] > 5 and shown:
            assert min(recent) <= shown <= max(recent)
            compared += 1
        if not told and asked.poll() is not None:
            told = json.loads(asked.communicate()[0])
            depth = next(queue["depth"] for queue in told["queues"] if queue["name"] == "code_execution")
            assert store.redis.zcard(f"{store.prefix}queued:code_execution") <= depth <= 200
        book.page.wait_for_timeout(100)
    assert compared > 3
    assert told
    waits = {job.id: job.result(60).wait_time_ms for job in jobs}
    book.poll(lambda: tile(box, "Queued") == tile(box, "Running") == "0", 20, "an empty queue")
    after = store.redis.hgetall(f"{store.prefix}counters")
    grown = {name: int(after.get(name, 0)) - int(counters.get(name, 0)) for name in after}
    assert grown["submitted"] == grown["ended:succeeded:ok"] == 200
    assert sum(n for name, n in grown.items() if name.startswith("hist:wait:code_execution:")) == 200
    assert grown["hist_sum:wait:code_execution"] == sum(waits.values())
    logs = [cluster.directory / "worker.log", second_worker]
    wait_until(lambda: len(logged_waits(logs, set(waits))) == 200, 20, "the log of every cell")
    assert logged_waits(logs, set(waits)) == waits
    listed = subprocess.run(line, env={**os.environ, **cluster.env}, check=True, capture_output=True, text=True)
    told = json.loads(listed.stdout)
    assert told["counters"]["submitted"] == int(after["submitted"])
    assert [queue["depth"] for queue in told["queues"]] == [0, 0]
    p95 = next(queue["wait_p95_s"] for queue in told["queues"] if queue["name"] == "code_execution")
    assert theme.seconds(p95) in box.locator("tr").filter(has_text="code_execution").first.inner_text()
    assert box.locator("tr").filter(has_text="second@").count() == 1
    assert book.page.evaluate("window.__xss") is None
    assert "<img src=x" in box.inner_text()


def select(part: Locator) -> None:
    """Select the text of an element."""
    part.evaluate(
        "part => { const r = document.createRange(); r.selectNodeContents(part);"
        " const s = getSelection(); s.removeAllRanges(); s.addRange(r) }"
    )


def test_selection_and_scroll_stay_while_numbers_change(notebook: Open, cluster: LiveCluster) -> None:
    """Under load a selected queue name, a picked curve and a table scrolled sideways stay; a button ends the pause."""
    book = notebook("%remote_queue")
    box = panel(book)
    book.page.set_viewport_size({"width": 620, "height": 1400})
    wide = box.locator(".cxm-wide").nth(1)
    book.poll(lambda: wide.evaluate("at => at.scrollWidth > at.clientWidth + 20"), 20, "a table wider than the page")
    wide.evaluate("at => { at.scrollLeft = 17; at.dataset.old = 'yes' }")
    stop = time.monotonic() + 90
    jobs = [cluster.client.submit(f"import time; time.sleep(.3); {i}", cache=False) for i in range(80)]
    replaced = "at => !at.dataset.old && at.scrollLeft === 17"
    book.poll(lambda: box.locator(".cxm-wide").nth(1).evaluate(replaced), 30, "a redrawn table, still scrolled")
    for part in (box.locator("td").filter(has_text="code_execution").first, box.locator("svg text").first):
        select(part)
        count, queued = reads(cluster), tile(box, "Queued")
        chosen = book.page.evaluate("getSelection().toString()")
        assert chosen
        book.poll(lambda: "tables stand still" in box.inner_text(), 20, "the pause")
        book.poll(lambda count=count, queued=queued: reads(cluster) > count + 10 and tile(box, "Queued") != queued, 60)
        assert book.page.evaluate("getSelection().toString()") == chosen
    assert time.monotonic() < stop
    box.get_by_role("button", name="›").first.click()
    book.poll(lambda: "tables stand still" not in box.inner_text(), 20, "the end of the pause")
    assert book.page.evaluate("getSelection().toString()") == ""
    for job in jobs:
        job.cancel()


def test_a_reloaded_page_goes_on(notebook: Open, cluster: LiveCluster) -> None:
    """After a reload the panel reads, submits and closes as before, and leaves its snapshot."""
    book = notebook("%remote_queue")
    panel(book)
    book.wait_done(1)
    book.save()
    book.open()
    box = book.output(1).locator(".cxm-panel")
    box.wait_for(timeout=30_000)
    book.poll(lambda: "Live" in box.inner_text(), 30, "life")
    count = reads(cluster)
    # longer than the page's sign of life lasts: the reloaded page gives it
    book.poll(lambda: reads(cluster) > count + 12 and "Live" in box.inner_text(), 40, "more readings")
    area = box.locator(".cxm-code textarea")
    area.fill(f"print('after the reload', {time.time()})")
    area.press("Shift+Enter")
    opened = box.locator(".cxm-box")
    book.poll(lambda: opened.count() and "after the reload" in opened.inner_text(), 60, "the output")
    box.get_by_role("button", name="Close").first.click()
    book.says(1, "as of", 30)
    assert book.output(1).locator(".cxm-code").count() == 0
    assert "Error displaying widget" not in book.text(1)


def test_a_running_job_shows_its_tail_and_is_cancelled(notebook: Open, cluster: LiveCluster) -> None:
    """Its row has room for the last line it wrote, however long its label, and a button that ends it."""
    ticks = "import time\nfor i in range(1500):\n    print('tick', i, flush=True)\n    time.sleep(.2)"
    job = cluster.client.submit(ticks, cache=False, timeout=80, label="long " * 30)
    book = notebook("%remote_queue")
    box = panel(book)
    row = box.locator(".cxm-item").filter(has=box.page.locator(f'[data-task="{job.id}"]'))
    tail = row.locator(".cxm-tail")
    book.poll(lambda: tail.count() and "tick" in tail.inner_text(), 30, "the last line")
    first = tail.inner_text()
    book.poll(lambda: tail.inner_text() != first, 30, "the next line")
    assert tail.evaluate("at => at.clientWidth > 40")
    row.get_by_role("button", name="Cancel").click()
    book.poll(lambda: "Cancelled" in row.inner_text(), 30, "the end")
    assert job.result(10).status == "cancelled"


def test_requeue_all_asks_first(notebook: Open, cluster: LiveCluster) -> None:
    """No leaves every dead letter where it is, Yes runs them all again; one that is gone keeps none of the others."""
    client, store = cluster.client, cluster.client.store
    client.purge_dead_letters()
    mine = {dead_letter(cluster) for _ in range(3)}
    before = {letter.task_id: letter.last_at for letter in client.dead_letters()}
    lost = mine.pop()
    store.redis.delete(f"{store.prefix}job:{lost}")
    book = notebook("%remote_queue")
    box = panel(book)
    box.get_by_role("button", name="Requeue all").click()
    book.poll(lambda: "Requeue 3 dead letters?" in box.inner_text(), 20, "the question")
    box.get_by_role("button", name="No", exact=True).click()
    book.poll(lambda: box.get_by_role("button", name="Requeue all").count() == 1, 20, "the button again")
    assert {letter.task_id: letter.last_at for letter in client.dead_letters()} == before
    box.get_by_role("button", name="Requeue all").click()
    box.get_by_role("button", name="Yes").click()
    book.poll(lambda: "2 requeued; 1 could not be" in box.inner_text(), 20, "what was done")

    def again() -> set[str]:
        return {one.task_id for one in client.dead_letters() if one.last_at > before.get(one.task_id, "~")}

    book.poll(lambda: again() == mine, 60, "their new ends")
    client.purge_dead_letters()


def test_edit_and_run_again(notebook: Open, cluster: LiveCluster) -> None:
    """The code of an opened job, whole however long it is, comes into the box, is changed there and runs anew."""
    long = "\n".join(["print('first version')", *(f"x{i} = '<b>{i}</b>'" for i in range(4000))])
    job = cluster.client.submit(long, cache=False)
    job.result(60)
    book = notebook("%remote_queue")
    box = panel(book)
    row = box.locator(".cxm-item").filter(has=box.page.locator(f'[data-task="{job.id}"]'))
    row.wait_for(timeout=20_000)
    book.page.wait_for_timeout(700)  # a row that has just appeared ignores clicks
    row.get_by_role("button", name="Open").click()
    opened = box.locator(".cxm-box")
    book.poll(lambda: opened.count() and "first version" in opened.inner_text(), 40, "the job")
    opened.get_by_role("button", name="Edit").click()
    area = box.locator(".cxm-code textarea")
    book.poll(lambda: area.input_value() == long, 20, "its code")
    write(box, f"print('second version', {time.time()})")
    box.locator("button.cxm-submit").click()
    book.poll(lambda: "second version" in opened.inner_text() and "Run again" in opened.inner_text(), 60, "the new job")
    assert "first version" not in opened.inner_text()
    new = next(one for one in cluster.client.jobs(5) if "second version" in one.code)
    assert new.id != job.id


def test_selection_stays(notebook: Open, cluster: LiveCluster) -> None:
    """What is selected in a section that did not change is still selected some readings later."""
    job = cluster.client.submit("'selected'", cache=False)
    job.result(60)
    book = notebook("%remote_queue")
    box = panel(book)
    name = box.locator(f'[data-task="{job.id}"] .cxm-id')
    name.wait_for(timeout=20_000)
    select(name)
    count = reads(cluster)
    book.poll(lambda: reads(cluster) > count + 20, 30, "some readings")
    assert book.page.evaluate("getSelection().toString()") == job.id


def test_filters(notebook: Open, cluster: LiveCluster) -> None:
    """Jobs are narrowed down by whose they are, status, queue and text."""
    failing = cluster.client.submit("raise ValueError('unmistakable-7d')", cache=False)
    failing.result(60)
    book = notebook("%remote_queue")
    box = panel(book)
    jobs = box.locator(".cxm-jobrow:not(.cxm-head)")
    book.poll(lambda: jobs.count() > 0, 20, "jobs")
    text = box.get_by_placeholder("id, label, worker or code")
    text.fill("unmistakable-7d")
    text.press("Enter")
    book.poll(lambda: jobs.count() == 1 and failing.id in str(jobs.first.get_attribute("data-task")), 20, "one job")
    selects = box.locator(".cxm-bar-row", has=box.page.get_by_placeholder("id, label")).last.locator("select")
    selects.nth(1).select_option(label="Succeeded")
    book.poll(lambda: "No jobs" in box.inner_text(), 20, "none that succeeded")
    selects.nth(1).select_option(label="Failed")
    book.poll(lambda: jobs.count() == 1, 20, "the failed one")
    selects.nth(0).select_option(label="code_execution_heavy")
    book.poll(lambda: "No jobs" in box.inner_text(), 20, "none on the other queue")
    selects.nth(0).select_option(label="all queues")
    book.poll(lambda: jobs.count() == 1, 20, "the failed one again")
    box.get_by_role("button", name="My jobs").click()
    book.poll(lambda: "No jobs" in box.inner_text(), 20, "none of this notebook's")


def test_answers_while_the_kernel_is_busy(notebook: Open) -> None:
    """A cell that runs for long stops neither the panel's numbers nor its buttons."""
    book = notebook("%remote_queue", "import time\ntime.sleep(60)")
    box = panel(book)
    book.wait_done(1)
    book.start(2)
    book.poll(lambda: book.prompt(2) == "[*]:", 20, "a busy kernel")
    write(box, f"print('meanwhile', {time.time()})")
    box.locator("button.cxm-submit").click()
    opened = box.locator(".cxm-box")
    book.poll(lambda: opened.count() and "meanwhile" in opened.inner_text(), 40, "the output")
    assert book.prompt(2) == "[*]:"
    book.interrupt()


@pytest.mark.parametrize("theme", THEMES)
def test_looks(notebook: Open, pictures: Path, theme: str) -> None:
    """The panel in both themes, with jobs in every state."""
    book = notebook(
        "%%remote_exec --no-wait --no-cache\nimport time\nfor i in range(300):\n    print('epoch', i); time.sleep(.1)",
        "for i in range(30):\n    get_ipython().run_cell_magic('remote_exec', '--no-wait --no-cache',"
        " f'import time; time.sleep(.4); {i} * 2')",
        f"%%remote_exec --no-wait --no-cache --timeout 0.5 --retries 0\n{HANGS}",
        "%%remote_exec --no-wait --no-cache\n1 / 0",
        "%remote_queue",
    )
    book.theme(THEMES[theme])
    for index in (1, 2, 3, 4):
        book.run(index)
    box = panel(book, 5)
    book.page.set_viewport_size({"width": 1280, "height": 1900})
    write(box, FIGURE)
    box.locator("button.cxm-submit").click()
    book.poll(lambda: tile(box, "Dead letters") != "0", 90, "a dead letter")
    book.poll(lambda: "drawn" in box.locator(".cxm-box").inner_text(), 60, "the figure")
    box.screenshot(path=pictures / f"panel_{theme}.png")
    text = box.inner_text()
    for words in ("Queues", "Workers", "Throughput", "Queue wait", "Submit", "Jobs", "Dead letters"):
        assert words in text
