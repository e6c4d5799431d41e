"""What a cell does as a notebook does: magics that need a home, processes, signals, ends, errors, asyncio."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

import pytest

from codeexec_magic.contract import Reason, stream_text
from codeexec_magic.limits import Limits
from worker.sandbox import Cell, Outcome, Sandbox

pytestmark = pytest.mark.slow

LIMITS = Limits(soft_s=40.0, hard_s=50.0)
SHORT = Limits(soft_s=0.5, hard_s=20.0)

#: wrapped with a backslash and not cut in the middle
WIDE_FRAME = (
    "   column_0  column_1  column_2  column_3  column_4  column_5  column_6  \\\n"
    "0         0      1000      2000      3000      4000      5000      6000   \n"
    "1     15000     16000     17000     18000     19000     20000     21000   \n\n"
    "   column_7  column_8  column_9  column_10  column_11  column_12  column_13  \\\n"
    "0      7000      8000      9000      10000      11000      12000      13000   \n"
    "1     22000     23000     24000      25000      26000      27000      28000   \n\n"
    "   column_14  \n"
    "0      14000  \n"
    "1      29000  \n"
)


@pytest.fixture(scope="module", params=[2, 1], ids=["level 2", "level 1"])
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """With a home that the sandbox mounts, and with one that is a folder of the host."""
    preload = ("numpy", "pandas", "matplotlib.pyplot")
    with Sandbox(slots=1, preload=preload, required_isolation=0, level=request.param) as one:
        yield one


def run(sandbox: Sandbox, code: str, limits: Limits = LIMITS) -> tuple[Outcome, str, str, list[str]]:
    """The outcome, what the streams showed, and the displays as plain text."""
    events: list[dict[str, Any]] = []
    outcome = sandbox.run(Cell("shell", textwrap.dedent(code), limits)).wait(events.append)
    shown = [event["data"].get("text/plain", "") for event in events if "data" in event]
    return outcome, stream_text(events, "stdout"), stream_text(events, "stderr"), shown


@pytest.mark.parametrize(
    ("code", "printed", "shown"),
    [
        ("_", "", ["''"]),
        ("%cd /tmp\n%pwd", "/tmp\n", ["'/tmp'"]),
        ("import os\nprint([str(p) for p in _dh] == [os.getcwd()])", "True\n", []),
        ("import os\nhome = os.getcwd()\n%cd -q /\n%cd -q\nprint(os.getcwd() == home)", "True\n", []),
        ("%bookmark here\n%cd -q /\n%cd -q -b here\n%pwd", "(bookmark:here) -> {home}\n", ["'{home}'"]),
        ("%pushd /tmp\n%popd", "/tmp\n{home}\npopd -> ~\n", []),
        ("%store -r", "", []),
        ("a = 7\n%store a\ndel a\n%store -r a\nprint(a)", "Stored 'a' (int)\n7\n", []),
        (
            "%rehashx\nprint(1)",
            "1\n",
            [],
        ),
        ("%matplotlib inline\nopen('foo.py', 'w').write('print(5)')\n%run foo.py", "5\n", []),
        ("import pandas as pd\nprint(pd.get_option('display.max_columns'))", "20\n", []),
        (
            "import pandas as pd, numpy as np\n"
            "print(pd.DataFrame(np.arange(30).reshape(2, 15) * 1000, columns=[f'column_{i}' for i in range(15)]))",
            WIDE_FRAME,
            [],
        ),
        ("x = 1\n%who", "x\t \n", []),
        ("%tb", "No traceback available to show.\n", []),
    ],
)
def test_it_is_as_in_a_notebook(sandbox: Sandbox, code: str, printed: str, shown: list[str]) -> None:
    """The same text and the same displays."""
    outcome, stdout, stderr, displays = run(sandbox, f"print(get_ipython().home_dir)\n{code}")
    assert outcome.success, (outcome, stderr)
    home, _, stdout = stdout.partition("\n")
    if "%tb" in code:
        stdout = stdout or stderr
    assert stdout == printed.format(home=home)
    if shown:
        assert displays == [one.format(home=home) for one in shown]


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_processes_start_in_every_way(sandbox: Sandbox, method: str) -> None:
    """A process of its own, and a pool."""
    if sandbox.report["level"] < 2:
        pytest.skip("queues need semaphores in /dev/shm, which a cell has in namespaces only")
    code = f"""
        import math, multiprocessing as mp, os
        from concurrent.futures import ProcessPoolExecutor
        context = mp.get_context({method!r})
        process = context.Process(target=os.getpid)
        process.start(); process.join()
        with ProcessPoolExecutor(2, mp_context=context) as pool:
            print(process.exitcode, list(pool.map(math.sqrt, [1, 4])))
    """
    outcome, stdout, stderr, _ = run(sandbox, code)
    assert stdout == "0 [1.0, 2.0]\n", (outcome, stderr)


@pytest.mark.parametrize(
    "raises", ["_thread.interrupt_main()", "os.kill(os.getpid(), signal.SIGINT)", "signal.raise_signal(signal.SIGINT)"]
)
def test_an_interrupt_of_its_own_is_keyboard_interrupt(sandbox: Sandbox, raises: str) -> None:
    """It can be caught, and when it is not it is an error, never a limit."""
    imports = "import _thread, os, signal, time\n"
    code = f"{imports}try:\n    {raises}\n    time.sleep(5)\nexcept KeyboardInterrupt:\n    print('caught')"
    outcome, stdout, _, _ = run(sandbox, code)
    assert (outcome.reason, stdout) == (Reason.OK, "caught\n")
    outcome, _, _, _ = run(sandbox, f"{imports}{raises}\ntime.sleep(5)")
    assert outcome.reason is Reason.ERROR
    assert outcome.error is not None
    assert outcome.error.ename == "KeyboardInterrupt"


@pytest.mark.parametrize(
    "deaf",
    [
        "signal.signal(signal.SIGINT, signal.SIG_IGN)",
        "signal.signal(signal.SIGINT, lambda *_: None)",
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})",
        "signal.signal(signal.SIGALRM, signal.SIG_IGN)",
    ],
)
def test_a_cell_that_ignores_interrupts_meets_its_soft_limit(sandbox: Sandbox, deaf: str) -> None:
    """In Python, and in a call that blocks."""
    for waits in ("while True: pass", "time.sleep(60)", "import threading; threading.Event().wait(60)"):
        outcome, _, _, _ = run(sandbox, f"import signal, time\n{deaf}\n{waits}", SHORT)
        assert outcome.reason is Reason.TIMEOUT
        assert "soft limit" in outcome.verdict


def test_asyncio_run_meets_the_soft_limit(sandbox: Sandbox) -> None:
    """The exception leaves the loop, and the cell may go on."""
    code = """
        import asyncio
        try:
            asyncio.run(asyncio.sleep(60))
        except SoftTimeLimitExceeded:
            print("in time")
    """
    outcome, stdout, _, _ = run(sandbox, code, SHORT)
    assert (outcome.reason, stdout) == (Reason.OK, "in time\n")


@pytest.mark.parametrize(
    ("code", "reason", "status", "stderr"),
    [
        ("exit()", Reason.OK, 0, ""),
        ("exit(0)", Reason.OK, 0, ""),
        ("quit(0)", Reason.OK, 0, ""),
        ("exit(None)", Reason.OK, 0, ""),
        ("exit(3)", Reason.EXIT, 3, ""),
        ("quit(3)", Reason.EXIT, 3, ""),
        ("quit(code=3)", Reason.EXIT, 3, ""),
        ("def f(): exit(4)\nf()", Reason.EXIT, 4, ""),
        ("exit('no data')", Reason.EXIT, 1, "no data\n"),
        ("import sys\nsys.exit(True)", Reason.EXIT, 1, ""),
        ("import sys\nsys.exit(-1)", Reason.EXIT, 255, ""),
        ("import sys\nsys.exit('no data')", Reason.EXIT, 1, "no data\n"),
        ("raise SystemExit", Reason.OK, 0, ""),
    ],
)
def test_it_ends_as_a_program_does(sandbox: Sandbox, code: str, reason: Reason, status: int, stderr: str) -> None:
    """What stands after it is not run."""
    outcome, stdout, written, _ = run(sandbox, f"print('first')\n{code}\nprint('never')")
    assert (outcome.reason, outcome.returncode, stdout, written) == (reason, status, "first\n", stderr)


@pytest.mark.parametrize("arguments", ["1, 2, 3", "None, None, None", "ValueError, ValueError('x'), 'no traceback'"])
def test_a_nonsense_call_of_the_exception_hook(sandbox: Sandbox, arguments: str) -> None:
    """Whatever it raises is IPython's own complaint, not ours."""
    outcome, _, _, _ = run(sandbox, f"import sys\nsys.excepthook({arguments})")
    assert outcome.error is None or "tb_next" not in outcome.error.evalue


def test_deep_recursion_is_shown_within_seconds(sandbox: Sandbox) -> None:
    """Frames that repeat are counted, and of a hundred thousand the middle is left out and told."""
    ordinary = "import logging, xml, unittest\ndef walk(node): return walk(node)\nwalk(1)"
    outcome, _, _, _ = run(sandbox, ordinary, Limits(soft_s=15.0, hard_s=20.0))
    assert outcome.error is not None
    assert outcome.error.ename == "RecursionError"
    assert "skipping similar frames: walk at line 2" in "\n".join(outcome.error.traceback)
    raised = "import sys\nsys.setrecursionlimit(50_000)\ndef walk(node): return walk(node)\nwalk(1)"
    outcome, _, _, _ = run(sandbox, raised, Limits(soft_s=20.0, hard_s=25.0))
    assert outcome.error is not None
    assert outcome.error.ename == "RecursionError"
    assert "frames left out of the middle" in "\n".join(outcome.error.traceback)


def test_tasks_left_at_the_end(sandbox: Sandbox) -> None:
    """They run on for a moment, as in a kernel; an error is shown, and what does not end is named."""
    code = """
        import asyncio
        async def work(): await asyncio.sleep(0.05); print("finished")
        async def fails(): await asyncio.sleep(0.05); 1 / 0
        async def heartbeat(): await asyncio.sleep(60)
        tasks = [asyncio.ensure_future(each()) for each in (work, fails, heartbeat)]
        await asyncio.sleep(0)
        print("end")
    """
    outcome, stdout, stderr, _ = run(sandbox, code)
    assert outcome.success
    assert stdout == "end\nfinished\n"
    assert "ZeroDivisionError" in stderr
    assert stderr.endswith(
        "asyncio tasks that the cell did not wait for were dropped: heartbeat(); await them to keep them\n"
    )


def test_a_task_without_await(sandbox: Sandbox) -> None:
    """A notebook's loop runs, so ``create_task`` works; a program that starts its own loop works as well."""
    outcome, stdout, _, _ = run(
        sandbox, "import asyncio\nasync def work(): print('done')\ntask = asyncio.create_task(work())"
    )
    assert (outcome.reason, stdout) == (Reason.OK, "done\n")
    code = """
        import asyncio
        async def main():
            return await asyncio.create_task(asyncio.sleep(0, "result"))
        print(asyncio.run(main()))
    """
    outcome, stdout, _, _ = run(sandbox, code)
    assert (outcome.reason, stdout) == (Reason.OK, "result\n")


@pytest.mark.parametrize(
    "code", ["input('name')", "import getpass\ngetpass.getpass()", "%edit", "import pdb\npdb.set_trace()"]
)
def test_what_needs_somebody_there_says_so(sandbox: Sandbox, code: str) -> None:
    """One line that names it."""
    outcome, _, _, _ = run(sandbox, code)
    assert outcome.error is not None
    assert "is not available" in outcome.error.evalue
    assert "remotely" in outcome.error.evalue


def test_a_cell_cannot_fill_the_next_cell(sandbox: Sandbox) -> None:
    """``%load`` says so, and what works instead."""
    outcome, _, stderr, _ = run(sandbox, "open('a.py', 'w').write('1')\n%load a.py")
    assert outcome.success
    assert "%run" in stderr
