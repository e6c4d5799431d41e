"""The sandbox as its callers use it: outcomes, order of output, limits, cancelling, deaths of its parts."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from codeexec_magic.contract import Reason, stream_text
from codeexec_magic.errors import IsolationUnavailable, LimitTooHigh, SandboxBroken
from codeexec_magic.limits import Limits
from worker.sandbox import Cell, Outcome, Run, Sandbox
from worker.sandbox.linux import processes
from worker.sandbox.linux.launcher_id import mark

LIMITS = Limits(soft_s=25.0, hard_s=30.0)
Events = list[dict[str, Any]]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """One sandbox for the tests that do not break it."""
    preload = ("numpy", "pandas", "matplotlib.pyplot")
    with Sandbox(slots=2, preload=preload, allow_network=True, allow_loopback=True) as sandbox:
        yield sandbox


def execute(sandbox: Sandbox, code: str, limits: Limits = LIMITS, **cell: Any) -> tuple[Outcome, Events]:
    """Run a cell to its end."""
    events: Events = []
    outcome = sandbox.run(Cell("test", textwrap.dedent(code), limits, **cell)).wait(events.append)
    return outcome, events


def until(predicate: Callable[[], bool], timeout: float = 10.0) -> bool:
    """Poll until it holds."""
    end = time.monotonic() + timeout
    while not predicate():
        if time.monotonic() > end:
            return False
        threading.Event().wait(0.01)
    return True


def launcher(sandbox: Sandbox) -> int:
    """The launcher's process id."""
    assert sandbox.pid is not None
    return sandbox.pid


def idle(sandbox: Sandbox) -> bool:
    """Whether the launcher has only the namespace server, the zygote and three standbys (an init and a cell each)."""
    pid = launcher(sandbox)
    return len(processes.descendants(pid)) == (8 if sandbox.report["level"] == 2 else 7)


def alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_last_expression_and_streams(sandbox: Sandbox) -> None:
    """Output and the last expression's value arrive as events of the Jupyter protocol."""
    outcome, events = execute(sandbox, "import sys\nprint('out')\nprint('err', file=sys.stderr)\n6 * 7")
    assert outcome.success
    assert outcome.reason is Reason.OK
    assert outcome.returncode == 0
    assert stream_text(events, "stdout") == "out\n"
    assert stream_text(events, "stderr") == "err\n"
    assert events[-1] == {"type": "execute_result", "data": {"text/plain": "42"}, "metadata": {}, "execution_count": 1}


@pytest.mark.parametrize("length", [1, 16 << 10, 2 << 20])
def test_code_of_any_length_arrives(sandbox: Sandbox, length: int) -> None:
    """The start of a request is sent ahead; the rest follows, however long."""
    outcome, events = execute(sandbox, f"print(len('{'x' * length}'))")
    assert outcome.success
    assert stream_text(events, "stdout") == f"{length}\n"


def test_objects_are_not_torn_down_for_the_end(sandbox: Sandbox) -> None:
    """What a cell holds is left alone when it ends, as in a notebook; what it registered for the end runs."""
    code = """
        import atexit, sys
        class Loud:
            def __del__(self): print("torn down")
        loud = Loud()
        atexit.register(print, "registered", file=sys.stderr)
        """
    outcome, events = execute(sandbox, code)
    assert outcome.success
    assert stream_text(events, "stdout") == ""
    assert stream_text(events, "stderr") == "registered\n"


def test_order_between_streams_displays_and_subprocesses(sandbox: Sandbox) -> None:
    """What a subprocess, a print and a display write comes in the order in which it was written."""
    code = """
    import sys, subprocess
    for i in range(20):
        print(i, "print")
        subprocess.run(["/bin/sh", "-c", f"echo {i} raw"])
        print(i, "err", file=sys.stderr)
        display(i)
    """
    _, events = execute(sandbox, code)
    text = "".join(e["text"] if e["type"] == "stream" else e["data"]["text/plain"] + "\n" for e in events)
    assert text.splitlines() == [line for i in range(20) for line in (f"{i} print", f"{i} raw", f"{i} err", f"{i}")]


def test_print_is_the_built_in_one_to_its_users(sandbox: Sandbox) -> None:
    """It takes what ``print`` takes, and refuses what it refuses."""
    code = """
    import contextlib, io, sys
    print(1, 'a', None, sep='-', end='.\\n')
    print('sep', None, sep=None, end=None, flush=True)
    print()
    print('to stderr', 2, file=sys.stderr)
    with contextlib.redirect_stdout(io.StringIO()) as caught:
        print('caught', 3)
    print('elsewhere', file=caught)
    print(repr(caught.getvalue()), print.__name__, print.__module__)
    for wrong in ({'sep': 1}, {'end': 1}, {'fil': 1}):
        try:
            print('x', **wrong)
        except TypeError as err:
            print(err)
    """
    _, events = execute(sandbox, code)
    *lines, sep, end, unknown = stream_text(events, "stdout").splitlines()
    assert lines == ["1-a-None.", "sep None", "", "'caught 3\\nelsewhere\\n' print builtins"]
    assert (sep, end) == ("sep must be None or a string, not int", "end must be None or a string, not int")
    assert unknown.startswith("print() got an unexpected keyword argument 'fil'")
    assert stream_text(events, "stderr") == "to stderr 2\n"


def test_lines_of_threads_stay_whole(sandbox: Sandbox) -> None:
    """A print is one write, whoever prints beside it."""
    code = """
    from concurrent.futures import ThreadPoolExecutor
    def work(number):
        for i in range(300): print(number, i, 'x' * 50)
    with ThreadPoolExecutor(3) as pool: list(pool.map(work, range(3)))
    """
    _, events = execute(sandbox, code)
    lines = stream_text(events, "stdout").splitlines()
    assert sorted(lines) == sorted(f"{number} {i} {'x' * 50}" for number in range(3) for i in range(300))


def test_output_arrives_while_the_cell_runs(sandbox: Sandbox) -> None:
    """A print is seen before the cell has ended."""
    first = threading.Event()
    run = sandbox.run(Cell("live", "import time\nprint('now')\ntime.sleep(60)", LIMITS))

    def on_event(event: dict[str, Any]) -> None:
        if "now" in event.get("text", ""):
            first.set()
            run.cancel()

    outcome = run.wait(on_event)
    assert first.is_set()
    assert outcome.reason is Reason.CANCELLED


def test_error_shows_the_users_lines_and_none_of_ours(sandbox: Sandbox) -> None:
    """A traceback names the cell's lines, and no frame of the runner."""
    outcome, _ = execute(sandbox, "def f():\n    return 1 / 0\n\nf()")
    assert outcome.reason is Reason.ERROR
    assert outcome.error is not None
    assert outcome.error.ename == "ZeroDivisionError"
    text = "\n".join(outcome.error.traceback)
    assert "line 4" in text.replace("\x1b[39m\x1b[32m", "")
    assert "runner.py" not in text
    assert "_codeexec" not in text


def test_error_within_print_shows_the_users_lines_only(sandbox: Sandbox) -> None:
    """What stands between two lines of the cell is not theirs."""
    outcome, _ = execute(sandbox, "class A:\n    def __str__(self):\n        return 1 / 0\n\nprint(A())")
    assert outcome.error is not None
    text = "\n".join(outcome.error.traceback)
    assert "<sandbox" not in text
    assert "return" in text
    assert "__str__" in text


def test_syntax_error(sandbox: Sandbox) -> None:
    """Code that does not parse is an error of the cell."""
    outcome, _ = execute(sandbox, "1 +")
    assert outcome.reason is Reason.ERROR
    assert outcome.error is not None
    assert outcome.error.ename == "SyntaxError"


@pytest.mark.parametrize(
    ("code", "stdout"),
    [
        ("!echo from-shell", "from-shell\n"),
        ("x = !echo captured\nprint(x[0])", "captured\n"),
        ("import asyncio\nawait asyncio.sleep(0)\nprint('awaited')", "awaited\n"),
        ("%%bash\necho bashed", "bashed\n"),
        ("%env HOME", ""),
        ("print(__name__)", "__main__\n"),
        ("import os\nprint(os.getcwd() == os.path.expanduser('~'))", "True\n"),
        ("open('m.py', 'w').write('x = 5')\nimport m\nprint(m.x)", "5\n"),
    ],
)
def test_ipython_habits(sandbox: Sandbox, code: str, stdout: str) -> None:
    """Magics, shell commands and top-level await work as in a notebook."""
    outcome, events = execute(sandbox, code)
    assert outcome.success, outcome
    assert stream_text(events, "stdout") == stdout


def test_rich_displays(sandbox: Sandbox) -> None:
    """A DataFrame comes as HTML, a figure as PNG, without asking for either."""
    code = "import pandas as pd, matplotlib.pyplot as plt\nplt.plot([1, 2])\npd.DataFrame({'a': [1]})"
    _, events = execute(sandbox, code)
    mimes = [mime for event in events for mime in event.get("data", {})]
    assert "text/html" in mimes
    assert "image/png" in mimes


def test_displays_can_be_updated_and_cleared(sandbox: Sandbox) -> None:
    """A display handle updates what it showed, by its id."""
    code = (
        "from IPython.display import clear_output\nh = display('a', display_id='x')\nh.update('b')\nclear_output(True)"
    )
    _, events = execute(sandbox, code)
    assert [event["type"] for event in events] == ["display_data", "update_display_data", "clear_output"]
    assert events[0]["transient"] == events[1]["transient"] == {"display_id": "x"}


def test_bundles_of_lines_and_numbers_become_text(sandbox: Sandbox) -> None:
    """What a notebook file holds as text is text, however the cell gave it; JSON stays what it is."""
    code = "display({'text/plain': 5, 'text/html': ['a', 'b'], 'application/json': [1]}, raw=True)"
    _, events = execute(sandbox, code)
    assert events[0]["data"] == {"text/plain": "5", "text/html": "ab", "application/json": [1]}


def test_large_display_is_put_together(sandbox: Sandbox) -> None:
    """A bundle far longer than a packet arrives whole."""
    _, events = execute(sandbox, "from IPython.display import HTML\nHTML('é' * 200_000)")
    assert events[0]["data"]["text/html"] == "é" * 200_000


def test_input_says_that_nobody_can_answer(sandbox: Sandbox) -> None:
    """input() fails with a clear error instead of waiting."""
    outcome, _ = execute(sandbox, "input('name? ')")
    assert outcome.error is not None
    assert "nobody can answer" in outcome.error.evalue


@pytest.mark.parametrize(
    ("code", "reason", "returncode"),
    [
        ("import sys; sys.exit()", Reason.OK, 0),
        ("import sys; sys.exit(3)", Reason.EXIT, 3),
        ("exit()", Reason.OK, 0),
        ("import os; os._exit(0)", Reason.EXIT, 0),
        ("import os; os._exit(7)", Reason.EXIT, 7),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", Reason.SIGNAL, -15),
        ("raise MemoryError", Reason.MEMORY, 1),
        ("class MemoryError(Exception): pass\nraise MemoryError", Reason.ERROR, 1),
        ("class SoftTimeLimitExceeded(Exception): pass\nraise SoftTimeLimitExceeded", Reason.ERROR, 1),
        ("open('f', 'wb').truncate(200 << 20)", Reason.DISK, 1),
    ],
)
def test_reasons(sandbox: Sandbox, code: str, reason: Reason, returncode: int) -> None:
    """The reason follows from how the process ended, not from what it says."""
    outcome, _ = execute(sandbox, code)
    assert (outcome.reason, outcome.returncode) == (reason, returncode), outcome
    assert outcome.success is (reason is Reason.OK)


FORGED_END = """
import os, json, gc
for junk in (b"", b"j", b"j{", b"jnull", b"p", b"p" + bytes(9), b"p" + bytes(20), b"j" + b"[" * 4000, os.urandom(4000)):
    os.write(3, junk or b"x")
os.write(3, b'j["EndReport","guess","ok",0,null,null]')
os.write(3, b'j["Evidence",null]')
os.write(3, b'j{"type":"stream","name":"stdout","text":"forged"}')
"""


def test_copying_works_where_modes_are_not_the_cells_to_change() -> None:
    """Without namespaces, as the worker's own user, modes outside stay as they are and copying files works."""
    with tempfile.NamedTemporaryFile(prefix="codeexec-outside-", dir="/tmp") as outside:
        code = f"""
        import os, shutil
        open("a", "w").write("x")
        shutil.copy2("a", "b")
        print(open("b").read())
        try:
            os.chmod({outside.name!r}, 0o777)
        except PermissionError:
            pass
        """
        with Sandbox(slots=1, preload=(), level=1, probe=False) as sandbox:
            outcome, events = execute(sandbox, code)
        assert outcome.success, outcome
        assert stream_text(events, "stdout") == "x\n"
        assert Path(outside.name).stat().st_mode & 0o777 == 0o600


def test_forged_frames_change_nothing(sandbox: Sandbox) -> None:
    """Junk and forged reports on the channel cost only themselves; the failure stays one."""
    outcome, events = execute(sandbox, FORGED_END + "print('still here')\n1 / 0")
    assert outcome.reason is Reason.ERROR
    assert stream_text(events, "stdout") == "still here\n"
    assert outcome.truncated["junk"] > 0


def test_real_token_does_not_beat_the_wait_status(sandbox: Sandbox) -> None:
    """A cell that digs out its own token and claims success, then dies, has died."""
    code = """
    import gc, os, json, signal
    tokens = [found.token for found in gc.get_objects() if type(found).__name__ == "CellCode"]
    for token in tokens:
        os.write(3, b"j" + json.dumps(["EndReport", token, "ok", 0, None, None]).encode())
    print(len(tokens) > 0)
    os.kill(os.getpid(), signal.SIGKILL)
    """
    outcome, events = execute(sandbox, code)
    assert stream_text(events, "stdout") == "True\n"
    assert outcome.reason is Reason.SIGNAL
    assert not outcome.success


def test_soft_limit_can_be_caught(sandbox: Sandbox) -> None:
    """The soft limit is an exception of a class that the cell can name, and may be survived."""
    code = """
    import time
    try:
        time.sleep(60)
    except SoftTimeLimitExceeded:
        print("saved")
    """
    outcome, events = execute(sandbox, code, Limits(soft_s=0.5, hard_s=20.0))
    assert outcome.success, outcome
    assert stream_text(events, "stdout") == "saved\n"


def test_soft_limit_not_caught_is_a_timeout(sandbox: Sandbox) -> None:
    """The verdict names the limit and the option that raises it."""
    outcome, _ = execute(sandbox, "import time\ntime.sleep(60)", Limits(soft_s=0.5, hard_s=20.0))
    assert outcome.reason is Reason.TIMEOUT
    assert "soft limit of 0.5 s" in outcome.verdict
    assert "--timeout 1" in outcome.verdict


def test_hard_limit_ends_what_ignores_everything(sandbox: Sandbox) -> None:
    """A cell that swallows every exception ends at the hard limit, and its output is kept."""
    code = "print('kept')\nwhile True:\n    try:\n        while True: sum(range(99))\n    except BaseException: pass"
    outcome, events = execute(sandbox, code, Limits(soft_s=0.4, hard_s=1.0))
    assert outcome.reason is Reason.TIMEOUT
    assert "hard limit" in outcome.verdict
    assert stream_text(events, "stdout") == "kept\n"


def test_what_holds_on_to_the_memory_is_as_confined_as_the_cell(sandbox: Sandbox) -> None:
    """The process beside the cell that shares its memory has every guard and limit of it, and nobody waits for it."""
    code = """
        import os
        from pathlib import Path
        own, names = os.getpid(), ("CapEff", "NoNewPrivs", "Seccomp", "Seccomp_filters", "Uid", "Groups")
        def facts(pid):
            status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
            return [status[name] for name in names], Path(f"/proc/{pid}/limits").read_text()
        others = [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) not in (1, own)]
        print(len(others), all(facts(pid) == facts(own) for pid in others))
        try:
            os.wait()
        except ChildProcessError:
            print("no children")
        """
    outcome, events = execute(sandbox, code)
    assert outcome.success
    assert stream_text(events, "stdout") == (
        "1 True\nno children\n" if outcome.isolation["cgroup"] else "0 True\nno children\n"
    )


def test_process_1_shows_nothing_of_the_host(sandbox: Sandbox) -> None:
    """The kernel lets everybody read a process's network tables: those of a run's first process are empty."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        code = "for name in ('tcp', 'tcp6', 'unix', 'dev'): print(open(f'/proc/1/net/{name}').read())"
        outcome, events = execute(sandbox, code)
        text = stream_text(events, "stdout")
        assert outcome.success
        assert f":{server.getsockname()[1]:04X} " not in text
        assert [line.split(":")[0].strip() for line in text.splitlines() if line.count(":") == 1] == ["lo"]


def test_cpu_limit_counts_the_tree(sandbox: Sandbox) -> None:
    """Processor time of children counts."""
    code = "import os\nfor _ in range(3):\n    if os.fork() == 0:\n        while True: pass\nos.wait()"
    outcome, _ = execute(sandbox, code, Limits(soft_s=25, hard_s=30, cpu_s=1))
    assert outcome.reason is Reason.CPU
    assert "processor seconds" in outcome.verdict


def test_memory_verdict_names_limit_peak_and_option(sandbox: Sandbox) -> None:
    """Shared memory that no single process's limit sees counts against the tree."""
    code = "import mmap\nm = mmap.mmap(-1, 400 << 20)\nfor i in range(0, len(m), 4096): m[i] = 1"
    outcome, _ = execute(sandbox, code, Limits(soft_s=25, hard_s=30, memory_mb=200))
    assert outcome.reason is Reason.MEMORY
    assert "memory: 200 MB limit reached, peak " in outcome.verdict
    assert "--memory 400MB raises it" in outcome.verdict


def test_process_limit_counts_the_tree(sandbox: Sandbox) -> None:
    """A cell gets ten processes, itself included, and then a plain error."""
    code = """
    import os, time
    n = 1
    try:
        while n < 64:
            if os.fork() == 0:
                time.sleep(20)
                os._exit(0)
            n += 1
    except BlockingIOError:
        print(n)
    """
    outcome, events = execute(sandbox, code)
    assert outcome.success
    assert stream_text(events, "stdout") == "10\n"


_THREADS = (
    "import threading, time\nfor _ in range(50): threading.Thread(target=time.sleep, args=(20,), daemon=True).start()"
)
_FORKS = "import os, time\nfor _ in range(50): os.fork() or time.sleep(20)"
_PROGRAMS = "import subprocess\nfor _ in range(50): subprocess.Popen(['sleep', '20'])"


@pytest.mark.parametrize("cgroup", [True, False], ids=["counted", "uncounted"])
def test_a_refused_process_or_thread_names_the_limit(cgroup: bool) -> None:
    """The verdict says which limit refused it and what raises that, whether the kernel counts refusals or not."""
    with Sandbox(slots=1, preload=(), cgroup=cgroup, probe=False) as sandbox:
        for code in (_THREADS, _FORKS, _PROGRAMS):
            outcome, _ = execute(sandbox, code, Limits(tasks=10) if code is _THREADS else Limits())
            assert outcome.reason is Reason.ERROR, outcome
            kind = "tasks" if code is _THREADS else "processes"
            assert f"{kind}: limit of 10 {'threads' if code is _THREADS else kind} reached" in outcome.verdict
            assert f"--limit {kind}=20 raises it" in outcome.verdict
            assert outcome.error is not None
            assert f"--limit {kind}=20 raises it" in outcome.error.traceback[-1]
        blocked, _ = execute(sandbox, "import socket\na, b = socket.socketpair()\na.setblocking(False)\na.recv(1)")
        assert "processes:" not in blocked.verdict


@pytest.mark.parametrize(
    ("code", "named"),
    [
        ("f = open('a', 'wb')\nwhile True: f.write(bytes(1 << 20))", "--limit file_mb=200"),
        ("for i in range(9): open(str(i), 'wb').write(bytes(90 << 20))", "--limit disk_mb=1024"),
        ("for i in range(30_000): open(str(i), 'w').close()", "--limit inodes=40000"),
        ("f = open('/dev/shm/a', 'wb')\nwhile True: f.write(bytes(1 << 20))", "--limit shm_mb=128"),
    ],
)
def test_disk_verdict_names_the_one_limit(sandbox: Sandbox, code: str, named: str) -> None:
    """A full disk is told by the one limit that was hit."""
    outcome, _ = execute(sandbox, code)
    assert outcome.reason is Reason.DISK
    assert named in outcome.verdict


def test_files_without_a_name_count_where_disk_is_sampled() -> None:
    """Without a file system of its own a cell cannot hide files by removing them while they are open."""
    code = """
    import tempfile
    files = []
    while True:
        files.append(tempfile.TemporaryFile())
        files[-1].write(bytes(20 << 20))
        files[-1].flush()
    """
    with Sandbox(slots=1, preload=(), level=1, probe=False) as sandbox:
        outcome, _ = execute(sandbox, code, Limits(soft_s=25.0, hard_s=30.0, disk_mb=64))
    assert outcome.reason is Reason.DISK, outcome
    assert "64 MB for all files together" in outcome.verdict


def test_output_keeps_head_and_tail(sandbox: Sandbox) -> None:
    """Of too much output head and tail are kept, with a marker between that counts what is missing."""
    code = "for i in range(100_000): print(i)"
    outcome, events = execute(sandbox, code, Limits(soft_s=25, hard_s=30, output_kb=64))
    text = stream_text(events, "stdout")
    (marker,) = [event for event in events if event["type"] == "truncated"]
    assert text.startswith("0\n1\n")
    assert text.endswith("99998\n99999\n")
    total = sum(len(str(i)) + 1 for i in range(100_000))
    assert len(text) + marker["bytes"] == total
    assert outcome.truncated == {"stdout": marker["bytes"]}


def test_unusual_limits_get_a_box_of_their_own(sandbox: Sandbox) -> None:
    """A smaller disk than the standby's is in force."""
    code = "import os\nprint(os.statvfs('.').f_blocks * os.statvfs('.').f_frsize >> 20)"
    _, events = execute(sandbox, code, Limits(soft_s=25, hard_s=30, disk_mb=33))
    assert stream_text(events, "stdout") == "33\n"


def test_network_only_when_asked_for(sandbox: Sandbox) -> None:
    """With the network granted a cell reaches what the worker reaches; without, it does not."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code = f"import socket\nsocket.create_connection(('127.0.0.1', {port}), 5)"
        granted, refused = execute(sandbox, code, network=True)[0], execute(sandbox, code)[0]
    assert (granted.success, refused.success) == (True, False)
    assert (granted.isolation["network"], refused.isolation["network"]) == ("host", "none")
    unreachable, _ = execute(sandbox, "import socket\nsocket.create_connection(('127.0.0.1', 1), 5)", network=True)
    assert "cells have no network" not in unreachable.verdict


def test_more_than_the_ceiling_is_refused() -> None:
    """A request may ask for less than the worker's maximum, never for more."""
    sandbox = Sandbox(ceiling=Limits())
    with pytest.raises(LimitTooHigh, match=r"memory_mb=\d+ is more than this worker allows \(1024\)"):
        sandbox.run(Cell("x", "1", Limits(memory_mb=2048)))
    with pytest.raises(LimitTooHigh, match="network"):
        sandbox.run(Cell("x", "1", network=True))


def test_required_isolation_refuses_to_start() -> None:
    """Below the required level nothing runs, and the error says what is missing."""
    with pytest.raises(IsolationUnavailable, match="isolation level 2 is required, this host gives 1"):
        Sandbox(required_isolation=2, level=1, preload=()).start()


def test_interpreter_that_does_not_exist() -> None:
    """A wrong interpreter is named."""
    with pytest.raises(SandboxBroken, match="/nowhere/python"):
        Sandbox(python="/nowhere/python").start()


def test_interpreter_without_ipython() -> None:
    """An interpreter without IPython says what it lacks."""
    if not Path("/usr/bin/python3").exists() or _imports("/usr/bin/python3", "IPython"):
        pytest.skip("no interpreter without IPython here")
    with pytest.raises(SandboxBroken, match="No module named 'IPython'"):
        Sandbox(python="/usr/bin/python3").start()


def _imports(python: str, module: str) -> bool:
    return subprocess.run([python, "-I", "-c", f"import {module}"], capture_output=True, check=False).returncode == 0


def test_a_process_that_outlives_its_cell_is_told(sandbox: Sandbox) -> None:
    """A cell that ended well while its threads go on is a success, and the verdict says what became of them."""
    outcome, _ = execute(sandbox, "import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()")
    assert outcome.success
    assert outcome.verdict == "ok, but the process did not end within a second of the cell's end and was killed"
    assert execute(sandbox, "1")[0].verdict == ""


def test_cancel_keeps_partial_output(sandbox: Sandbox) -> None:
    """A cancelled run keeps what it printed, and cancelling twice changes nothing."""
    run = sandbox.run(Cell("c", "import time\nprint('part')\ntime.sleep(60)", LIMITS))
    events: Events = []

    def on_event(event: dict[str, Any]) -> None:
        events.append(event)
        run.cancel()
        run.cancel()

    outcome = run.wait(on_event)
    assert outcome.reason is Reason.CANCELLED
    assert stream_text(events, "stdout") == "part\n"


def test_cancel_before_a_slot_is_free(sandbox: Sandbox) -> None:
    """A run that still waits for a standby can be cancelled, too."""
    runs = [sandbox.run(Cell("w", "import time\ntime.sleep(30)", LIMITS)) for _ in range(8)]
    for run in reversed(runs):
        run.cancel()
    assert {run.wait().reason for run in runs} == {Reason.CANCELLED}


def test_many_threads(sandbox: Sandbox) -> None:
    """Runs from many threads at once do not mix."""
    outcomes: dict[int, str] = {}

    def work(i: int) -> None:
        outcomes[i] = stream_text(execute(sandbox, f"print({i})")[1], "stdout")

    threads = [threading.Thread(target=work, args=(i,)) for i in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == {i: f"{i}\n" for i in range(12)}


def test_a_caller_that_goes_away_ends_its_run(sandbox: Sandbox) -> None:
    """When the consumer fails, the processes of its run go, too."""
    run = sandbox.run(Cell("gone", "import time\nprint(1)\ntime.sleep(60)", LIMITS))

    def fail(_event: dict[str, Any]) -> None:
        raise RuntimeError("consumer")

    with pytest.raises(RuntimeError, match="consumer"):
        run.wait(fail)
    assert until(lambda: idle(sandbox))


def test_descriptors_of_the_launcher_do_not_grow(sandbox: Sandbox) -> None:
    """Runs leave no descriptor in the launcher."""

    def count() -> int:
        return len(list(Path(f"/proc/{launcher(sandbox)}/fd").iterdir()))

    execute(sandbox, "1")
    seen: list[int] = []

    def settled() -> bool:
        # as many processes are there while one standby ends and the next is made: the same for a while, then
        seen.append(count() if idle(sandbox) else -1)
        return seen[-1] > 0 and seen[-20:] == [seen[-1]] * 20

    assert until(settled)
    before = seen[-1]
    for _ in range(10):
        execute(sandbox, "print(1)")
    assert until(lambda: idle(sandbox) and count() <= before)


def _tree(sandbox: Sandbox) -> list[int]:
    pid = launcher(sandbox)
    return [pid, *processes.descendants(pid)]


def _busy(sandbox: Sandbox) -> Run:
    started = threading.Event()
    run = sandbox.run(Cell("busy", "import os, time\nprint(1)\nos.fork() or os.setsid()\ntime.sleep(60)", LIMITS))
    result: list[Outcome] = []
    run.thread = threading.Thread(  # type: ignore[attr-defined]
        target=lambda: result.append(run.wait(lambda _e: started.set()))
    )
    run.thread.start()  # type: ignore[attr-defined]
    run.result = result  # type: ignore[attr-defined]
    assert started.wait(30)
    return run


@pytest.mark.parametrize(("level", "victim"), [(2, 0), (2, 1), (2, 2), (1, 0), (1, 1)])
def test_death_of_a_part(victim: int, level: int) -> None:
    """Launcher, namespace_server or zygote killed: the run is internal, nothing is left, the next run works."""
    with Sandbox(slots=1, preload=(), level=level, probe=False) as sandbox:
        run = _busy(sandbox)
        tree = _tree(sandbox)
        os.kill(tree[victim], signal.SIGKILL)
        run.thread.join(20)  # type: ignore[attr-defined]
        (outcome,) = run.result  # type: ignore[attr-defined]
        assert outcome.reason is Reason.INTERNAL, outcome
        assert until(lambda: not any(alive(pid) for pid in tree)), [pid for pid in tree if alive(pid)]
        assert execute(sandbox, "1 + 1")[0].success
        tree = _tree(sandbox)
    assert until(lambda: not any(alive(pid) for pid in tree))


def test_death_of_an_init_without_namespaces() -> None:
    """Where only ancestry ties a run together, its processes go even when its init is killed."""
    # one process prints: lines of two would mix
    code = "import os, time\nchild = os.fork()\nif not child:\n    os.setsid()\n    time.sleep(60)\n"
    code += "print(os.getppid(), os.getpid(), child)\ntime.sleep(60)"
    with Sandbox(slots=1, preload=(), level=1, probe=False) as sandbox:
        printed: list[int] = []

        def on_event(event: dict[str, Any]) -> None:
            printed.extend(int(word) for word in event["text"].split() if word.isdigit())
            if len(printed) == 3:
                os.kill(printed[0], signal.SIGKILL)

        outcome = sandbox.run(Cell("orphan", code, LIMITS)).wait(on_event)
        assert outcome.reason is Reason.INTERNAL, outcome
        assert until(lambda: not any(alive(pid) for pid in printed[1:3]))
        assert until(lambda: len(processes.descendants(launcher(sandbox))) == 5)  # zygote, and twice init and cell
        assert execute(sandbox, "1 + 1")[0].success


WORKER = """
import os, sys
from worker.sandbox import Cell, Sandbox
from worker.sandbox.linux import processes
sandbox = Sandbox(slots=1, preload=(), level=int(sys.argv[1]), probe=False)
sandbox.start()
pid = sandbox.pid
code = "import os, time, ctypes\\nctypes.CDLL(None).prctl(1, 0, 0, 0, 0)\\n"
code += "os.fork() or os.setsid()\\nprint(1)\\ntime.sleep(60)"
sandbox.run(Cell("x", code)).wait(lambda e: print(pid, *processes.descendants(pid), flush=True))
"""


#: how long anything of a run may outlive launcher or worker (seconds): a promise, not a figure of one machine
CLEAN_S = 1.0


def remains(mark: str, tree: list[int]) -> list[object]:
    """What is left of a launcher: processes, control groups, folders."""
    found: list[object] = [pid for pid in tree if alive(pid)]
    # walked, because a group may vanish between being listed and being entered
    groups = (Path(folder) for folder, _, _ in os.walk("/sys/fs/cgroup"))
    found += [group for group in groups if group.name.startswith(f"codeexec-{mark}-")]
    return found + list(Path("/tmp").glob(f"codeexec-{mark}-*"))


@pytest.mark.parametrize("level", [2, 1])
def test_death_of_the_launcher_leaves_nothing(level: int) -> None:
    """After kill -9 of the launcher its processes, control groups and folders go at once, not with the next cell."""
    code = "import os, time\nos.mkdir('a')\nos.chmod('a', 0)\nos.fork() or os.setsid()\nprint(1)\ntime.sleep(60)"
    with Sandbox(slots=1, preload=(), level=level, probe=False) as sandbox:
        before: list[object] = []
        name, tree = mark(launcher(sandbox)), [0]

        def on_event(_event: dict[str, Any]) -> None:
            if not before:
                tree[:] = _tree(sandbox)
                before.extend(remains(name, tree))
                os.kill(tree[0], signal.SIGKILL)

        assert sandbox.run(Cell("killed", code, LIMITS)).wait(on_event).reason is Reason.INTERNAL
        folders = [item for item in before if isinstance(item, Path)]
        assert folders or (level == 2 and sandbox.report["cgroup"] is None), before
        assert until(lambda: not remains(name, tree), CLEAN_S), remains(name, tree)


@pytest.mark.parametrize("level", [2, 1])
def test_death_of_the_worker_leaves_nothing(level: int) -> None:
    """kill -9 of the worker leaves nothing of its sandbox, whatever the cell did to survive."""
    worker = subprocess.Popen([sys.executable, "-c", WORKER, str(level)], stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None
    tree = [int(pid) for pid in worker.stdout.readline().split()]
    assert len(tree) >= 4
    name = mark(tree[0])
    assert len(remains(name, tree)) >= len(tree)
    worker.kill()
    worker.wait()
    worker.stdout.close()
    assert until(lambda: not remains(name, tree), CLEAN_S), remains(name, tree)


def test_close_leaves_nothing() -> None:
    """Closing ends every process and removes every control group."""
    sandbox = Sandbox(slots=2, preload=(), probe=False)
    sandbox.start()
    execute(sandbox, "1")
    tree = _tree(sandbox)
    sandbox.close()
    assert not any(alive(pid) for pid in tree)
    groups = Path("/sys/fs/cgroup")
    if groups.exists():
        left = [path for path in groups.glob(f"**/codeexec-{tree[0]}.*-*")]
        assert left == []
    with pytest.raises(SandboxBroken):
        sandbox.run(Cell("x", "1"))


def test_environment_fingerprint_is_stable_and_tells_interpreters_apart(sandbox: Sandbox) -> None:
    """The same interpreter and libraries give the same fingerprint; another preload list another."""
    with Sandbox(slots=1, preload=(), probe=False) as other:
        assert other.environment != sandbox.environment
    with Sandbox(slots=1, preload=("numpy", "pandas", "matplotlib.pyplot"), probe=False) as same:
        assert same.environment == sandbox.environment


def test_result_carries_what_was_really_on(sandbox: Sandbox) -> None:
    """Isolation is reported from the run's own steps."""
    outcome, _ = execute(sandbox, "1")
    assert outcome.isolation["level"] == sandbox.report["level"]
    assert outcome.isolation["seccomp"] is True
    assert outcome.isolation["landlock_abi"] >= 1
    assert all(check["refused"] for check in sandbox.report["checks"].values())


def test_short_of(tmp_path: Path) -> None:
    """Below the floor of free space the sandbox says what is short."""
    assert "are required" in (Sandbox(free_disk_mb=1 << 40).short_of() or "")
    with contextlib.suppress(OSError):
        assert Sandbox(free_disk_mb=1).short_of() is None


def test_an_unlimited_number_of_processes_is_told() -> None:
    """As root, without namespaces, control group and users of their own, cells may fork at will: the report says so."""
    with Sandbox(slots=1, preload=(), level=1, cgroup=False, probe=False) as sandbox:
        told = any(why.startswith("processes:") for why in sandbox.report["missing"])
        assert told == (os.getuid() == 0 and not sandbox.report["own_uid"])


def test_network_is_refused_where_it_would_open_the_loopback() -> None:
    """Leave for the network alone is not enough: such a cell would reach what listens on the machine itself."""
    with Sandbox(slots=1, preload=(), probe=False, allow_network=True) as sandbox:
        with pytest.raises(LimitTooHigh, match="CODEEXEC_ALLOW_LOOPBACK"):
            sandbox.run(Cell("x", "1", network=True))
        assert execute(sandbox, "1")[0].success


_RANDOM = """
import json, multiprocessing, os, random, secrets, socket, ssl, tempfile, uuid, numpy
print(json.dumps({
    "authkey": bytes(multiprocessing.current_process().authkey).hex(),
    "random": random.random(),
    "numpy": float(numpy.random.rand()),
    "default_rng": float(numpy.random.default_rng().random()),
    "ssl": ssl.RAND_bytes(16).hex(),
    "secrets": secrets.token_hex(),
    "uuid1": str(uuid.uuid1()), "uuid4": str(uuid.uuid4()), "node": uuid.getnode(),
    "names": next(tempfile._get_candidate_names()),
    "mkdtemp": tempfile.mkdtemp(),
}))
"""


@pytest.mark.parametrize("level", [2, 1])
def test_cells_share_no_key_and_no_seed(level: int) -> None:
    """Whatever the zygote had made when it imported libraries is made anew in each cell."""
    preload = ("multiprocessing", "ssl", "uuid", "tempfile", "secrets", "numpy", "random")
    with Sandbox(slots=1, preload=preload, level=level, required_isolation=0, probe=False) as sandbox:
        first, second = (json.loads(stream_text(execute(sandbox, _RANDOM)[1], "stdout")) for _ in range(2))
    assert {name for name in first if first[name] == second[name]} == set()
