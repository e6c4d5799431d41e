"""Progress bars in the sandbox: what ``tqdm.auto`` and ``tqdm.notebook`` send in place of widgets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from codeexec_magic.contract import DEFAULT_LIMITS, QUEUE_DEFAULT
from worker.sandbox import Cell, Outcome, Sandbox
from worker.sandbox.cell.tqdm_progress import MIME

LIMITS = replace(DEFAULT_LIMITS[QUEUE_DEFAULT], soft_s=30.0, hard_s=40.0)
Screen = list[dict[str, Any]]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """One for all: none of these cells does it any harm."""
    with Sandbox(slots=1, preload=(), required_isolation=0) as one:
        yield one


def run(sandbox: Sandbox, code: str) -> tuple[Screen, list[dict[str, Any]], Outcome]:
    """What the notebook shows at the end, every event, and the outcome."""
    events: list[dict[str, Any]] = []
    outcome = sandbox.run(Cell("bars", code, LIMITS)).wait(events.append)
    shown: dict[str, dict[str, Any]] = {}
    for number, event in enumerate(events):
        if "data" in event:
            shown[event.get("transient", {}).get("display_id", str(number))] = event["data"]
    return [one for one in shown.values() if one], events, outcome


def bars(screen: Screen) -> list[tuple[str, float | None]]:
    """State and share of each bar."""
    return [(one[MIME]["state"], one[MIME]["share"]) for one in screen if MIME in one]


@pytest.mark.parametrize("module", ["tqdm.auto", "tqdm.notebook", "tqdm.autonotebook"])
def test_a_bar_ends_full_and_writes_no_text(sandbox: Sandbox, module: str) -> None:
    """One display that is updated; plain text beside it; nothing on the streams."""
    screen, events, outcome = run(sandbox, f"from {module} import tqdm\nfor i in tqdm(range(7), desc='seven'): pass")
    assert outcome.reason == "ok"
    assert bars(screen) == [("done", 1.0)]
    assert screen[0][MIME]["left"].split() == ["seven:", "100%"]
    assert screen[0]["text/plain"].startswith("seven: 100%|██████████| 7/7")
    assert [one for one in events if one["type"] == "stream"] == []


def test_plain_tqdm_stays_text(sandbox: Sandbox) -> None:
    """As in a local notebook; so does a bar with a file of its own."""
    screen, events, _ = run(
        sandbox,
        "import io, tqdm.auto, tqdm\nfor i in tqdm.tqdm(range(3)): pass\n"
        "own = io.StringIO()\nfor i in tqdm.auto.tqdm(range(3), file=own): pass\nprint('own', '3/3' in own.getvalue())",
    )
    text = "".join(one["text"] for one in events if one["type"] == "stream")
    assert bars(screen) == []
    assert "100%|" in text
    assert "own True" in text


def test_inner_bars_share_a_place(sandbox: Sandbox) -> None:
    """A thousand inner bars leave no trace and no more displays than two."""
    _, events, outcome = run(
        sandbox,
        "from tqdm.auto import trange\nfor i in trange(1000):\n    for j in trange(3, leave=False): pass",
    )
    assert outcome.reason == "ok"
    first = [one for one in events if one["type"] == "display_data"]
    assert len(first) == 2
    last = {one["transient"]["display_id"]: one["data"] for one in events if "data" in one}
    assert bars([one for one in last.values() if one]) == [("done", 1.0)]
    assert {} in last.values()


def test_a_flood_of_pictures_is_bounded(sandbox: Sandbox) -> None:
    """Whatever tqdm is told, and however many bars there are, few pictures go out; the last one is right."""
    screen, events, _ = run(
        sandbox,
        "from tqdm.auto import tqdm\nimport time\n"
        "for i in tqdm(range(20_000), mininterval=0, miniters=1): pass\n"
        "bar = tqdm(total=5)\nfor i in range(5000): bar.set_description(str(i))\nbar.update(5); bar.close()\n"
        "for _ in range(500):\n    for x in tqdm(range(2), leave=False): pass",
    )
    assert bars(screen) == [("done", 1.0), ("done", 1.0)]
    assert screen[1][MIME]["left"].startswith("4999:")
    assert len([one for one in events if "data" in one]) < 200


@pytest.mark.parametrize("leave", [True, False])
def test_an_error_leaves_the_bar_where_it_stopped(sandbox: Sandbox, leave: bool) -> None:
    """The loop that failed shows how far it came, whether it was to stay or not."""
    screen, _, outcome = run(
        sandbox, f"from tqdm.auto import tqdm\nfor i in tqdm(range(10), leave={leave}):\n    if i == 4: 1/0"
    )
    assert outcome.reason == "error"
    assert bars(screen) == [("stopped", 0.4)]


def test_a_loop_that_was_broken_off(sandbox: Sandbox) -> None:
    """One that stays says that it stopped; one that does not goes away."""
    screen, _, _ = run(
        sandbox,
        "from tqdm.auto import tqdm\nfor leave in (True, False):\n    for i in tqdm(range(10), leave=leave):\n"
        "        if i == 5: break\n",
    )
    assert bars(screen) == [("stopped", 0.5)]


def test_an_error_after_a_broken_off_loop(sandbox: Sandbox) -> None:
    """A bar that went away in good order does not come back because something else fails later."""
    screen, _, outcome = run(
        sandbox,
        "from tqdm.auto import tqdm\nfor i in tqdm(range(10), leave=False):\n    if i == 5: break\n"
        "for i in tqdm(range(4)): pass\n1/0",
    )
    assert outcome.reason == "error"
    assert bars(screen) == [("done", 1.0)]


def test_unknown_total_and_bars_by_hand(sandbox: Sandbox) -> None:
    """No share without a total; a bar that nobody closed is closed with the cell."""
    screen, _, _ = run(
        sandbox,
        "from tqdm.auto import tqdm\nfor i in tqdm(x for x in 'abc'): pass\n"
        "bar = tqdm(total=4, unit='B', unit_scale=True)\nbar.update(3)\n"
        "for i in tqdm(range(0)): pass\nfor i in tqdm(range(3), disable=True): pass",
    )
    assert bars(screen) == [("done", None), ("stopped", 0.75), ("done", None)]
    assert "3.00/4.00" in screen[1][MIME]["right"]


def test_a_soft_limit_in_the_loop(sandbox: Sandbox) -> None:
    """The bar of a cell that ran out of time says so."""
    events: list[dict[str, Any]] = []
    cell = Cell(
        "bars",
        "from tqdm.auto import tqdm\nimport time\nfor i in tqdm(range(1000)): time.sleep(.05)",
        replace(LIMITS, soft_s=1.0),
    )
    outcome = sandbox.run(cell).wait(events.append)
    assert outcome.reason == "timeout"
    shown = [one["data"][MIME] for one in events if MIME in one.get("data", {})]
    assert [one["state"] for one in shown if one["state"] != "running"] == ["stopped"]


def test_write_coroutines_and_pandas(sandbox: Sandbox) -> None:
    """The rest of what people use of tqdm works."""
    screen, events, outcome = run(
        sandbox,
        "from tqdm.auto import tqdm\nimport pandas as pd\n"
        "for i in tqdm(range(2)): tqdm.write(f'line {i}')\n"
        "async def numbers():\n    for i in range(3): yield i\n"
        "async for i in tqdm(numbers()): pass\n"
        "tqdm.pandas()\npd.Series([1, 2]).progress_apply(lambda x: x)\n"
        "bar = tqdm(total=2)\nbar.update(2); bar.reset(total=4); bar.update(4); bar.close()",
    )
    assert outcome.reason == "ok", outcome.error
    text = "".join(one["text"] for one in events if one["type"] == "stream")
    assert text == "line 0\nline 1\n"
    assert [state for state, _ in bars(screen)] == ["done"] * 4


def test_cells_without_it_load_nothing(sandbox: Sandbox) -> None:
    """The hook imports nothing by itself, and a missing module is still missing."""
    code = "import sys, json.tool\nprint([m for m in sys.modules if m.split('.')[0] == 'tqdm'])\nimport tqdm.nothing"
    _, events, outcome = run(sandbox, code)
    assert "".join(one["text"] for one in events if one["type"] == "stream") == "[]\n"
    assert outcome.error is not None
    assert outcome.error.ename == "ModuleNotFoundError"
