"""The magics as a user types them, in plain IPython, on a real worker."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from live_cluster import LiveCluster
from support import wait_until

from codeexec_magic.contract import Status
from codeexec_magic.errors import BrokerUnreachable, RemoteCancelled, RemoteError

Run = Callable[..., str]


class Said:
    """Runs cells and returns what they printed, without colours."""

    def __init__(self, shell: InteractiveShell, capture: pytest.CaptureFixture[str]) -> None:
        self.shell, self._capture = shell, capture
        self.error: BaseException | None = None

    def __call__(self, cell: str) -> str:
        """Run one cell; :attr:`error` is what it raised."""
        self._capture.readouterr()
        result = self.shell.run_cell(cell)
        self.error = result.error_before_exec or result.error_in_exec
        out, err = self._capture.readouterr()
        return re.sub(r"\x1b\[[0-9;]*m", "", out + err)


@pytest.fixture
def run(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> Said:
    """Run a cell, get its output."""
    return Said(shell, capsys)


def test_output_value_and_card(run: Said) -> None:
    """Streams, the last expression, then one line about the job."""
    text = run("%%remote_exec --no-cache\nimport sys\nprint('out'); print('err', file=sys.stderr)\n6 * 7")
    assert run.error is None
    assert "out\n" in text
    assert "err\n" in text
    assert re.search(r"\n42\n", text)
    card = r"✓ Succeeded  [0-9a-f]{8}  code_execution · \S+  waited \d+\.\d s · ran \d+\.\d s\n"
    assert re.search(card, text), text


def test_cached_result(run: Said) -> None:
    """An identical cell is answered from the cache, with its output, and says so."""
    cell = "%%remote_exec\nprint('once'); 'and its value'"
    first = run(cell)
    second = run(cell)
    source = re.search(r"Succeeded  ([0-9a-f]{8})", first)
    assert source is not None
    assert re.search(rf"⚡ Cached, \d+ s old, from task {source[1]}  [0-9a-f]{{8}}  code_execution\n", second), second
    assert "once" in second
    assert "'and its value'" in second
    assert "Cached" not in run(cell.replace("remote_exec", "remote_exec --no-cache"))
    assert "Cached" not in run(cell.replace("remote_exec", "remote_exec --refresh"))


def test_remote_error_is_raised(run: Said) -> None:
    """The class has the remote name, the message is the remote one, the traceback shows the user's line."""
    text = run("%%remote_exec --no-cache\nvalues = {}\nvalues['missing key']")
    assert type(run.error).__name__ == "KeyError"
    assert isinstance(run.error, RemoteError)
    assert str(run.error) == "'missing key'"
    assert "values['missing key']" in text
    assert "codeexec_magic/" not in text
    assert "✕ Failed" in text


def test_limit_is_named_with_its_remedy(run: Said) -> None:
    """A cell over its memory limit says which limit and which option raises it."""
    text = run("%%remote_exec --no-cache --memory 200MB --retries 0\nblock = bytearray(2_000_000_000)")
    assert type(run.error).__name__ == "MemoryError"
    assert "☠ Dead-lettered after 1 run: memory limit" in text
    assert "--memory" in text.splitlines()[-1]


def test_exit_status(run: Said) -> None:
    """``sys.exit(3)`` fails the cell in one line."""
    text = run("%%remote_exec --no-cache\nimport sys; sys.exit(3)")
    assert "exited with status 3" in text
    assert "Traceback" not in text
    assert run.error is not None


def test_input_says_that_it_cannot_ask(run: Said) -> None:
    """There is nobody to answer."""
    assert "input() is not available" in run("%%remote_exec --no-cache\ninput('name? ')")


def test_values_in_and_out(run: Said) -> None:
    """Variables go along and come back; a value that cannot is named."""
    run.shell.user_ns.update(prices=[1.5, 2], rate=2)
    run("%%remote_exec --in prices,rate --out total --out doubled\ntotal = sum(prices)\ndoubled = total * rate")
    assert run.error is None
    assert (run.shell.user_ns["total"], run.shell.user_ns["doubled"]) == (3.5, 7.0)
    assert "--in prces: no such variable; did you mean prices?" in run("%%remote_exec --in prces\n1")
    assert "missing" in run("%%remote_exec --no-cache --out missing\n1")
    assert run.error is not None


def test_no_wait_then_wait(run: Said) -> None:
    """``--no-wait`` returns at once, ``--as`` binds the Job, ``%remote_wait`` ends with one line per job."""
    text = run("%%remote_exec --no-cache --no-wait --as first\nimport time; time.sleep(.5); print('hello')")
    assert text.startswith("submitted task ")
    run("%%remote_exec --no-cache --no-wait --as second\n1 + 1")
    text = run("%remote_wait")
    first, second = run.shell.user_ns["first"], run.shell.user_ns["second"]
    assert first.status is second.status is Status.SUCCEEDED
    assert text.count("✓ Succeeded") == 2
    assert run.shell.user_ns["_remote"] is second
    assert "hello" in run("%remote_attach first")
    assert run("%remote_wait") == "no job to wait for\n"


def test_the_second_of_two_identical_jobs_says_whose_run_it_shares(run: Said) -> None:
    """The list names the first one; its own outcome is its own all the same."""
    now = time.time()
    for name in ("first", "second"):
        run(f"%%remote_exec --no-wait --as {name}\nimport time; time.sleep(1); {now}")
    text = run("%remote_wait first second")
    first, second = run.shell.user_ns["first"], run.shell.user_ns["second"]
    assert text.count(f"shares the run of {first.id[:8]}") == 1
    assert first.result().outputs == second.result().outputs
    assert f"shares the run of {first.id[:8]}" in run("%remote_status second")


def test_no_wait_brings_values_back(run: Said) -> None:
    """``--out`` binds its variables when the background job ends."""
    run("%%remote_exec --no-cache --no-wait --out late\nlate = 'value'")
    assert wait_until(lambda: run.shell.user_ns.get("late"), 20) == "value"


def test_wait_fails_if_a_job_failed(run: Said) -> None:
    """A background failure cannot make a notebook green."""
    run("%%remote_exec --no-cache --no-wait\n1/0")
    run("%%remote_exec --no-cache --no-wait\n1")
    text = run("%remote_wait")
    assert type(run.error).__name__ == "ZeroDivisionError"
    assert "1 of 2 jobs failed" in text


def test_wait_with_a_timeout(run: Said, cluster: LiveCluster) -> None:
    """Waiting may be limited; the job goes on."""
    run("%%remote_exec --no-cache --no-wait --as job\nimport time; time.sleep(30)")
    text = run("%remote_wait job --timeout 0.5")
    assert "not all jobs ended within 0.5 s; they go on" in text
    job = run.shell.user_ns["job"]
    assert not job.done
    assert "is being cancelled" in run("%remote_cancel job") or job.done
    assert job.result(20).status is Status.CANCELLED


def test_status_attach_cancel_by_prefix_and_last(run: Said, cluster: LiveCluster) -> None:
    """Jobs are named by id, by its beginning, by a variable or as the last one."""
    run("%%remote_exec --no-cache\nprint('a line')")
    task_id = run.shell.user_ns["_remote"].id
    for name in (task_id, task_id[:8], "last", "_remote", ""):
        assert f"✓ Succeeded  {task_id[:8]}" in run(f"%remote_status {name}")
    assert "a line" in run(f"%remote_attach {task_id[:8]}")
    assert run("%remote_cancel last") == f"task {task_id[:8]} had already ended (succeeded)\n"
    assert "no job zzzz" in run("%remote_status zzzz")
    assert task_id[:8] in run("%remote_jobs -n 3 --status succeeded")


def test_no_worker_is_said(run: Said, cluster: LiveCluster) -> None:
    """A queue nobody serves is named while the cell goes on waiting; cancelling it from elsewhere ends the cell."""
    before = {state.id for state in cluster.client.jobs()}

    def cancel() -> None:
        (state,) = wait_until(
            lambda: [one for one in cluster.client.jobs() if one.id not in before and one.status is Status.QUEUED], 10
        )
        wait_until(lambda: cluster.client.job(state.id).state().waited_s > 1, 10)
        cluster.client.cancel(state.id)

    thread = threading.Thread(target=cancel)
    thread.start()
    text = run("%%remote_exec --no-cache --queue code_execution_heavy\n1")
    thread.join()
    assert "0 workers listen on code_execution_heavy" in text
    assert isinstance(run.error, RemoteCancelled)
    assert "⊘ Cancelled" in text
    assert "Traceback" not in text


@pytest.mark.parametrize(
    ("cell", "line"),
    [
        ("%%remote_exec --quee x\n1", "UsageError: unknown option --quee: did you mean --queue?"),
        ("%%remote_exec --queue code_executoin\n1", "UsageError: unknown queue 'code_executoin': did you mean"),
        ("%%remote_exec --timeout soon\n1", "UsageError: --timeout: 'soon' is not a time"),
        ("%%remote_exec --timeout 99999\n1", "UsageError: "),
        ("%%remote_exec print(1)\n1", "UsageError: unexpected 'print(1)': only options stand on this line"),
        ("%%remote_exec\n# nothing\n   ", ""),
        ("%%remote_exec\n" + "x = 1\n" * 300_000, "the limit is 1,024 KB"),
        ("%remote_dlq requeue", "UsageError: there is no dead letter"),
        ("%remote_dlq shred", "UsageError: "),
        ("%remote_cluster stop", "UsageError: CELERY_BROKER_URL names another cluster"),
    ],
)
def test_mistakes_are_one_clear_line(run: Said, cell: str, line: str) -> None:
    """Bad input gives one line that names the thing and the fix."""
    text = run(cell)
    assert line in text
    assert len(text.strip().splitlines()) <= 1 + ("nothing" in cell)
    assert (run.error is None) == ("nothing" in cell)


def test_bad_syntax_shows_the_users_line(run: Said, cluster: LiveCluster) -> None:
    """Refused before it is queued, with line and marker; IPython's own syntax passes."""
    before = len(cluster.client.jobs(limit=200))
    text = run("%%remote_exec\nok = 1\nnot ok = 2")
    assert "remote cell:2" in text or "remote cell, line 2" in text
    assert "not ok = 2" in text
    assert type(run.error).__name__ == "SyntaxError"
    assert "session.py" not in text
    assert len(cluster.client.jobs(limit=200)) == before
    for cell in ("%time 1 + 1", "!echo from the shell", "import asyncio\nawait asyncio.sleep(0)\n'awaited'"):
        run(f"%%remote_exec --no-cache\n{cell}")
        assert run.error is None, cell


def test_unreachable_broker(run: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line names the broker; the variable is read anew for every cell."""
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://127.0.0.1:1/0")
    text = run("%%remote_exec\n1")
    assert isinstance(run.error, BrokerUnreachable)
    assert len(text.strip().splitlines()) == 1
    assert "redis://127.0.0.1:1/0" in text
    monkeypatch.setenv("CELERY_BROKER_URL", "htp://x")
    assert "UsageError: CELERY_BROKER_URL" in run("%%remote_exec\n1")


def test_dead_letter_round_trip(run: Said, cluster: LiveCluster) -> None:
    """List, show, requeue with edited code, drop, purge."""
    run("%%remote_exec --no-cache --timeout 1 --retries 0\nimport time\nprint('waiting'); time.sleep(20)")
    task = run.shell.user_ns["_remote"].id[:8]
    assert f"☠ {task}  time limit" in run("%remote_dlq")
    shown = run("%remote_dlq show")
    assert "time.sleep(20)" in shown
    assert "Last output:\n    waiting" in shown
    run(f"%remote_dlq edit {task}")
    (payload,) = [run.shell.rl_next_input] if hasattr(run.shell, "rl_next_input") else [None]
    assert payload is None or payload.startswith(f"%%remote_dlq requeue {task}\nimport time")
    text = run(f"%%remote_dlq requeue {task}\nprint('edited')")
    assert "edited" in text
    assert f"✓ Succeeded  {task}" in text
    assert run("%remote_dlq") == "no dead letters\n"
    run("%%remote_exec --no-cache --timeout 1 --retries 0\nimport time; time.sleep(20)")
    assert "dropped" in run("%remote_dlq drop last")
    assert run("%remote_dlq purge") == "0 dead letters dropped\n"


def test_retries_wait_as_the_line_says(run: Said) -> None:
    """``--retry-waits`` sets the pauses, and a variable that holds the Job names its dead letter."""
    cell = "%%remote_exec --no-cache --timeout 1 --retries 1 --retry-waits 0.1 --as stuck\nimport time; time.sleep(20)"
    assert "Dead-lettered after 2 runs: time limit" in run(cell)
    assert "run 2: timeout" in run("%remote_dlq show stuck")
    assert "dropped" in run("%remote_dlq drop stuck")


def test_retries_setting_holds_where_nothing_is_said(run: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    """``CODEEXEC_RETRIES`` is not overruled by a default of the magic."""
    monkeypatch.setenv("CODEEXEC_RETRIES", "0")
    text = run("%%remote_exec --no-cache --timeout 1\nimport time; time.sleep(20)")
    assert "Dead-lettered after 1 run: time limit" in text


def test_config_and_profiles(run: Said, tmp_path: Path) -> None:
    """Traits and profiles set what the line does not say; the line wins."""
    (tmp_path / "pyproject.toml").write_text("[tool.codeexec.profiles.quick]\nno-wait = true\nas = 'quick_job'\n")
    assert run("%%remote_exec --no-cache --profile quick\n1").startswith("submitted task")
    run("%remote_wait quick_job")
    run("%config RemoteExecMagics.wait = False")
    assert run("%%remote_exec --no-cache\n1").startswith("submitted task")
    run("%config RemoteExecMagics.wait = True")
    run("%config RemoteExecMagics.queue = 'code_executoin'")
    assert "unknown queue" in run("%%remote_exec --no-cache\n1")
    assert "Succeeded" in run("%%remote_exec --no-cache -q code_execution\n1")
    run("%config RemoteExecMagics.memory = 'lots'")
    assert "'lots' is not a size" in run("%%remote_exec -q code_execution\n1")


def test_braces_are_left_alone(run: Said) -> None:
    """Code is sent as it was written."""
    run.shell.user_ns["x"] = "local"
    assert "{x} remote $x" in run("%%remote_exec --no-cache\nx = 'remote'\nprint('{x}', f'{x}', '$x')")


def test_variables_on_the_line_are_expanded(run: Said) -> None:
    """``{name}`` and ``$name`` are the kernel's there, as for every magic; what names nothing is refused."""
    run.shell.user_ns.update(seconds=7, label={"memory": "256MB"})
    run("%%remote_exec --no-cache --timeout {seconds + 1} --memory {label['memory']}\npass")
    assert run.error is None
    assert run.shell.user_ns["_remote"].result().limits["soft_s"] == 8
    assert run.shell.user_ns["_remote"].result().limits["memory_mb"] == 256
    run("%%remote_exec --no-cache --timeout $seconds\npass")
    assert run.shell.user_ns["_remote"].result().limits["soft_s"] == 7
    assert "{nothing}" in run("%%remote_exec --timeout {nothing}\npass")


def test_help_and_unload(run: Said) -> None:
    """Help lists the options; unloading removes every magic."""
    parser: Any = run.shell.magics_manager.magics["cell"]["remote_exec"]
    for option in ("--queue", "--no-wait", "--as", "--in", "--out", "--timeout", "--memory", "--retries", "--no-cache",
                   "--refresh", "--profile", "--trust", "--network", "--on-interrupt"):  # fmt: skip
        assert option in parser.__doc__, option
    names = ["remote_status", "remote_attach", "remote_wait", "remote_cancel", "remote_jobs", "remote_dlq"]
    assert all(run.shell.find_magic(name) for name in names)
    run("%unload_ext codeexec_magic")
    assert not any(run.shell.find_magic(name) for name in names)
    run("%load_ext codeexec_magic")
    assert all(run.shell.find_magic(name) for name in names)


@pytest.mark.parametrize(
    ("typed", "offered", "not_offered"),
    [
        ("%%remote_exec --no", {"--no-wait", "--no-cache"}, {"--queue"}),
        ("%%remote_exec --queue ", {"code_execution", "code_execution_heavy"}, {"last", "and"}),
        ("%%remote_exec --in my_", {"my_data"}, {"--in"}),
        ("%%remote_exec --in my_data,my_", {"my_data,my_other"}, set()),
        ("%%remote_exec --on-interrupt d", {"detach"}, {"cancel"}),
        ("%remote_status ", {"last"}, {"print"}),
        ("%remote_dlq re", {"requeue"}, {"show"}),
        ("%%remote_exec --profile ", {"mine"}, set()),
    ],
)
def test_completion(run: Said, tmp_path: Path, typed: str, offered: set[str], not_offered: set[str]) -> None:
    """Tab offers what fits there and nothing else."""
    (tmp_path / "pyproject.toml").write_text("[tool.codeexec.profiles.mine]\nretries = 0\n")
    run.shell.user_ns.update(my_data=1, my_other=2)
    from IPython.core.completer import provisionalcompleter

    with provisionalcompleter():
        found = list(run.shell.Completer.completions(typed, len(typed)))
    texts = {typed[: one.start] + one.text for one in found}
    head = typed[: len(typed) - len(typed.split(" ")[-1])]
    assert {head + word for word in offered} <= texts
    assert not {head + word for word in not_offered} & texts
