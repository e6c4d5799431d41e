"""The command line: what it prints, where, and with which exit status."""

from __future__ import annotations

import ast
import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest
from support import PrivateServer, missing, processes_mentioning, wait_until

from codeexec_magic import Client, local
from codeexec_magic.cli import terminal
from codeexec_magic.cli.demo import STEPS
from codeexec_magic.cli.root import COMMANDS, call
from codeexec_magic.contract import ErrorInfo, ExecutionRequest, ExecutionResult, Reason, Status, code_hash
from codeexec_magic.settings import Settings
from codeexec_magic.store.attempt_end import AttemptEnd
from codeexec_magic.store.dead_letters import DeadLetter

Codeexec = Callable[..., tuple[int, str, str]]


@pytest.fixture
def codeexec(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, short_tmp: Path) -> Codeexec:
    """Runs one command in this process; returns status, standard output and standard error."""
    monkeypatch.setenv("CODEEXEC_HOME", str(short_tmp / "c"))
    for name in ("CELERY_BROKER_URL", "CELERY_RESULT_BACKEND"):
        monkeypatch.delenv(name, raising=False)

    def run(*args: str) -> tuple[int, str, str]:
        status = call(args)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture
def client(redis_server: PrivateServer) -> Iterator[Client]:
    """A client of the test server, which is empty and has no worker."""
    with Client(redis_server.url, settings=Settings()) as client:
        client.store.redis.flushall()
        yield client


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Environment of a running embedded cluster that this module's tests share."""
    import shutil
    import tempfile

    directory = tempfile.mkdtemp(prefix="cx-")
    patch = pytest.MonkeyPatch()
    for name in ("CELERY_BROKER_URL", "CELERY_RESULT_BACKEND"):
        patch.delenv(name, raising=False)
    patch.setenv("CODEEXEC_HOME", f"{directory}/c")
    local.ensure(timeout=60)
    yield {**os.environ, "CODEEXEC_HOME": f"{directory}/c"}
    patch.setenv("CODEEXEC_HOME", f"{directory}/c")
    local.stop()
    patch.undo()
    wait_until(lambda: not processes_mentioning(f"{directory}/c"), 60, "the end of the cluster")
    shutil.rmtree(directory, ignore_errors=True)


def command(*args: str) -> list[str]:
    """The command line of the installed command."""
    return [sys.executable, "-P", "-c", "from codeexec_magic.cli import main; main()", *args]


def finished(env: dict[str, str], *args: str, input_: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run one command as a process of its own."""
    return subprocess.run(
        command(*args), env=env, input=input_, capture_output=True, text=True, timeout=100, check=False
    )


def dead(client: Client, code: str = "hoard()") -> str:
    """Put a dead letter on the test server; its task id."""
    job = client.submit(code, retries=0, label="the hoarder")
    begun = client.store.begin(job.id, 1, "a1", "w1")
    assert not isinstance(begun, str)
    attempt_record = {"worker": "w1", "reason": "memory"}
    result = ExecutionResult(
        job.id,
        code_hash(code),
        False,
        Status.DEAD_LETTERED,
        Reason.MEMORY,
        error=ErrorInfo("MemoryError", "", ("a line of the traceback",)),
        verdict="used more than 1024 MB",
        attempts=(attempt_record,),
        outputs=({"type": "stream", "name": "stdout", "text": "last words\n"},),
    )
    letter = DeadLetter.of(ExecutionRequest(job.id, code), result, "2026-01-01T00:00:00Z").as_dict()
    client.store.finish(
        job.id,
        "a1",
        AttemptEnd(
            "end",
            Reason.MEMORY,
            status=Status.DEAD_LETTERED,
            result=result,
            dead_letter=letter,
            attempt_record=attempt_record,
        ),
    )
    return job.id


# -- the command as a whole


def test_help_names_every_command_and_loads_none(codeexec: Codeexec) -> None:
    """The overview is quick because it imports neither Redis nor Celery nor any command."""
    code = "import sys; from codeexec_magic.cli.root import call; call(['--help']); print(sorted(sys.modules))"
    shown = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True).stdout
    assert all(f"\n  {name} " in shown for name in COMMANDS)
    loaded = shown.splitlines()[-1]
    heavy = ("'redis'", "'celery'", "'IPython'", "'worker'", "'codeexec_magic.client'", "'codeexec_magic.cli.run'")
    assert not [name for name in heavy if name in loaded]
    assert codeexec()[:2] == codeexec("--help")[:2]


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_has_help(codeexec: Codeexec, name: str) -> None:
    """The table of commands names modules and functions that exist, and each of them explains itself."""
    status, out, _ = codeexec(name, "--help")
    assert status == 0
    assert out.startswith(f"Usage: codeexec {name}")


@pytest.mark.parametrize("name", ["dlq", "cluster"])
def test_a_group_alone_shows_its_help(codeexec: Codeexec, name: str) -> None:
    """As the command itself does."""
    assert codeexec(name)[::2] == (0, "")
    assert codeexec(name)[1].replace("[COMMAND]", "COMMAND") == codeexec(name, "--help")[1].replace(
        "[COMMAND]", "COMMAND"
    )


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["jbos"], "did you mean jobs?"),
        (["xyzzy"], "unknown command 'xyzzy'"),
        (["run"], "Missing argument 'FILE'"),
        (["run", "/nonexistent.py"], "cannot read /nonexistent.py: No such file"),
        (["run", "-q"], "requires an argument"),
        (["run", __file__, "--queu", "x"], "No such option"),
        (["run", __file__, "--memory", "lots"], "'lots' is not a size"),
        (["run", __file__, "--memory", "512B"], "less than 1 MB"),
        (["cluster", "stop", "--now", "--grace", "5"], "exclude each other"),
        (["--broker", "redis://:s3cret@h?nope=1", "jobs"], "'redis://:***@h:6379/0': unknown option nope"),
        (["run", __file__, "--retries", "-1"], "0<=x<=100"),
        (["run", __file__, "--no-cache", "--refresh"], "exclude each other"),
        (["run", __file__, "--timeout", "0"], "'0' is not a time"),
        (["--broker", "http://x", "jobs"], "unknown scheme"),
        (["--broker", "redis://localhost:1/0", "jobs"], "cannot reach the broker at redis://localhost:1/0"),
        (["--broker", "redis+socket:///nonexistent.sock", "queue"], "cannot reach the broker"),
        (["worker"], "no broker: give --broker URL or set CELERY_BROKER_URL"),
        (["worker", "--slots", "0"], "1<=x<=1024"),
        (["--broker", "redis://h/0", "worker", "--name", "a b"], "use letters"),
        (["--broker", "redis://h/0", "worker", "--queues", ","], "names no queue"),
        (["dlq", "requeue"], "name one task id, or --all"),
        (["dlq", "requeue", "--all", "--code", "x.py"], "--code goes with one task id"),
    ],
)
def test_bad_input_gives_one_clear_line(codeexec: Codeexec, args: list[str], text: str) -> None:
    """Exit status 2 and one line on standard error that says what is wrong, never a traceback."""
    status, out, err = codeexec(*args)
    assert (status, out) == (2, "")
    assert err.startswith("codeexec: error: ")
    assert text in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (b"", "nothing to run"),
        (b"a = 1\nb = = 2\n", "line 2"),
        (b"\xff\xfe\x00", "is not UTF-8 text"),
        (b"x = 1\n" * 2_000_000, "the limit is 1,024 KB"),
    ],
)
def test_bad_source_gives_one_clear_line(
    codeexec: Codeexec, monkeypatch: pytest.MonkeyPatch, redis_server: PrivateServer, source: bytes, text: str
) -> None:
    """Source that cannot run is refused before anything is queued, also from standard input."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(source)))
    status, out, err = codeexec("--broker", redis_server.url, "run", "-")
    assert (status, out) == (2, "")
    assert text in err
    assert len(err.splitlines()) == 1


def test_bad_setting_is_named(codeexec: Codeexec, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that makes no sense is named, not traced."""
    monkeypatch.setenv("CODEEXEC_LEASE_S", "soon")
    status, _, err = codeexec("jobs")
    assert status == 2
    assert "CODEEXEC_LEASE_S='soon'" in err


# -- against a server without workers


def test_missing_worker_is_said_and_interrupt_cancels(client: Client, tmp_path: Path) -> None:
    """A job nobody takes says so; Ctrl-C cancels it and exits with 130."""
    (tmp_path / "cell.py").write_text("print(1)")
    running = subprocess.Popen(
        command("--broker", client.settings.broker_url or "", "run", str(tmp_path / "cell.py")),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stderr is not None
    assert "0 workers listen on code_execution" in running.stderr.readline()
    running.send_signal(signal.SIGINT)
    assert running.wait(60) == 130
    running.stderr.close()
    (job,) = client.jobs()
    assert job.status is Status.CANCELLED
    assert job.label == "cell.py"


def test_unknown_queue_suggests_the_nearest(codeexec: Codeexec, client: Client, tmp_path: Path) -> None:
    """A typing mistake in the queue's name is not queued."""
    (tmp_path / "cell.py").write_text("1")
    args = ("--broker", client.settings.broker_url or "", "run", str(tmp_path / "cell.py"), "--queue", "code_executoin")
    status, _, err = codeexec(*args)
    assert status == 2
    assert "did you mean code_execution?" in err
    assert client.jobs() == []


def test_jobs_are_listed(codeexec: Codeexec, client: Client) -> None:
    """One line for each, newest first, or JSON."""
    broker = ("--broker", client.settings.broker_url or "")
    assert codeexec(*broker, "jobs") == (0, "no jobs\n", "")
    jobs = [client.submit(f"x = {i}\nprint(x)") for i in range(3)]
    _, out, _ = codeexec(*broker, "jobs", "-n", "2")
    assert out.splitlines()[0].split() == ["ID", "STATUS", "QUEUE", "RAN", "WAITED", "RUN", "WORKER", "CODE"]
    assert [line.split()[0] for line in out.splitlines()[1:]] == [jobs[2].id[:8], jobs[1].id[:8]]
    assert "x = 2" in out
    listed = json.loads(codeexec(*broker, "jobs", "--json")[1])
    assert [job["task_id"] for job in listed] == [job.id for job in reversed(jobs)]
    assert listed[0]["status"] == "queued"


def test_keys_are_shown_with_their_bounds(codeexec: Codeexec, client: Client) -> None:
    """Every kind has a line, with how many there are and what bounds it; JSON has the same."""
    client.submit("1")
    status, out, _ = codeexec("--broker", client.settings.broker_url or "", "keys")
    assert status == 0
    lines = {line.split()[0]: line for line in out.splitlines()}
    assert " hash    1 " in lines["codeexec:default:job:{id}"]
    assert "max_queue" in lines["{queue}"]
    assert " 0 " in lines["dead_letter"]
    found = json.loads(codeexec("--broker", client.settings.broker_url or "", "keys", "--json")[1])
    assert {one["key"]["name"]: one["count"] for one in found}["queued:{queue}"] == 1


def test_queues_are_shown(codeexec: Codeexec, client: Client) -> None:
    """Depth and listeners of every queue, and that nobody listens."""
    client.submit("1")
    broker = ("--broker", client.settings.broker_url or "")
    _, out, _ = codeexec(*broker, "queue")
    assert re.search(r"^code_execution +1 +\d+ m?s +- +- +0$", out, re.MULTILINE)
    assert re.search(r"^code_execution_heavy +0 +- +- +- +0$", out, re.MULTILINE)
    assert "0 workers" in out
    shown = json.loads(codeexec(*broker, "queue", "--json")[1])
    assert next((one["name"], one["depth"]) for one in shown["queues"]) == ("code_execution", 1)
    assert shown["workers"] == []


def test_dead_letters_are_listed_shown_and_dropped(codeexec: Codeexec, client: Client) -> None:
    """A dead letter's story is told, by any unique start of its id, and it can be forgotten."""
    broker = ("--broker", client.settings.broker_url or "")
    assert codeexec(*broker, "dlq", "list") == (0, "no dead letters\n", "")
    first, second = dead(client), dead(client, "hoard(2)")
    _, out, _ = codeexec(*broker, "dlq", "list")
    assert [line.split()[0] for line in out.splitlines()[1:]] == [second[:8], first[:8]]
    assert "used more than 1024 MB" in out
    assert [one["task_id"] for one in json.loads(codeexec(*broker, "dlq", "list", "--json")[1])] == [second, first]
    _, out, _ = codeexec(*broker, "dlq", "show", first[:12])
    for text in (first, "memory", "hoard()", "last words", "a line of the traceback", "run 1: worker w1"):
        assert text in out
    assert json.loads(codeexec(*broker, "dlq", "show", first, "--json")[1])["code"] == "hoard()"
    assert codeexec(*broker, "dlq", "drop", first) == (0, f"dropped {first}\n", "")
    status, _, err = codeexec(*broker, "dlq", "show", first)
    assert status == 2
    assert "no dead letter" in err
    assert [letter.task_id for letter in client.dead_letters()] == [second]


def test_dead_letters_are_requeued(
    codeexec: Codeexec, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One, one with edited code, or all of them go back to their queue."""
    broker = ("--broker", client.settings.broker_url or "")
    first, second, third = dead(client), dead(client, "hoard(2)"), dead(client, "hoard(3)")
    assert codeexec(*broker, "dlq", "requeue", first) == (0, f"requeued {first}\n", "")
    assert client.job(first).status is Status.QUEUED
    (tmp_path / "fixed.py").write_text("save()")
    codeexec(*broker, "dlq", "requeue", second, "--code", str(tmp_path / "fixed.py"))
    assert client.job(second).state().code == "save()"
    assert json.loads(codeexec(*broker, "dlq", "requeue", "--all", "--json")[1]) == {"requeued": [third]}
    assert client.dead_letters() == []
    assert codeexec(*broker, "dlq", "requeue", "--all") == (0, "no dead letters\n", "")


def test_purge_asks_first(codeexec: Codeexec, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --yes a plain Enter keeps everything."""
    broker = ("--broker", client.settings.broker_url or "")
    dead(client)
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n"))
    status, _, err = codeexec(*broker, "dlq", "purge")
    assert (status, "forget 1 dead letter?" in err) == (130, True)
    assert len(client.dead_letters()) == 1
    assert codeexec(*broker, "dlq", "purge", "--yes") == (0, "purged 1 dead letter\n", "")
    assert client.dead_letters() == []
    assert codeexec(*broker, "dlq", "purge") == (0, "purged 0 dead letters\n", "")


#: what a terminal must never get: controls of both sets, reordering, invisible characters, tags, conceal
EVIL = (
    "\x1b[2J\x1b]0;title\x07\x1b]52;c;ZXZpbA==\x07\x1b]8;;http://evil/\x1b\\\x9b31m\u202e\u2066\u200e\u061c\u200b"
    "\U000e0041\u2028evil\x08\rback\x1b[8m\x1bP+q\x1b\\"
)
HARMFUL = re.compile(
    "[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\U000e0000-\U000e0fff]"
    r"|\x1b(?!\[[0-9;]*m)|\x1b\[8m"
)


def test_what_a_cell_named_cannot_reach_the_terminal(codeexec: Codeexec, client: Client, tmp_path: Path) -> None:
    """Whatever field of a record is hostile: every command prints it as plain text, in tables, reports and JSON."""
    broker = ("--broker", client.settings.broker_url or "")
    letter = {**client.dead_letter(dead(client)).as_dict(), "label": EVIL, "queue": EVIL, "reason": EVIL}
    letter |= {"attempts": [{"worker": EVIL, EVIL: EVIL}], "verdict": EVIL, "code": EVIL, "last_output": [EVIL]}
    letter |= {"error": {"ename": EVIL, "evalue": EVIL, "traceback": [EVIL, EVIL]}}
    client.purge_dead_letters()
    client.store.redis.lpush("dead_letter", json.dumps(letter), "what somebody else wrote", '{"schema": 99}')
    client.store.redis.hset(f"{client.store.prefix}dead_letter:index", letter["task_id"], json.dumps(letter))
    job = client.submit("1", label=EVIL)
    client.store.redis.hset(f"{client.store.prefix}job:{job.id}", mapping={"queue": EVIL, "worker": EVIL})
    client.store.redis.zadd(f"{client.store.prefix}workers", {EVIL: client.store.now()})
    client.store.redis.hset(f"{client.store.prefix}worker:{EVIL}", mapping={"queues": EVIL, "version": EVIL})
    (tmp_path / "cell.py").write_text("1")
    walked: dict[str, list[list[str]]] = {
        "dlq": [["dlq", "list"], ["dlq", "show", letter["task_id"]], ["dlq", "show", EVIL]],
        "jobs": [["jobs"]],
        "queue": [["queue"]],
        "keys": [["keys"]],
        "mcp": [],  # its output is for programs
        "metrics": [["metrics", "--once"]],
        "doctor": [["doctor"]],
        "run": [["run", str(tmp_path / "cell.py"), "--queue", EVIL], ["run", EVIL]],
        "demo": [["demo"]],
        "worker": [["worker", "--name", EVIL]],
        "lab": [],  # becomes JupyterLab
        "cluster": [["cluster", EVIL]],
    }
    assert set(walked) == set(COMMANDS)
    for args in (args for command in walked.values() for args in command):
        for json_ in ([], ["--json"]):
            if json_ and args[0] in ("metrics", "demo", "worker", "cluster", "run"):
                continue
            status, out, err = codeexec(*broker, *args, *json_)
            assert "Traceback (most recent call last)" not in out + err, (args, out, err)
            assert HARMFUL.search(out + err) is None, (args, out, err)
            if args[0] in ("jobs", "queue") or args[:2] == ["dlq", "list"]:
                assert (status, err) == (0, "")
                assert "evil" in out
            if json_ and out:
                json.loads(out)


@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_run_on_a_terminal_lets_colours_through_only(cluster: dict[str, str], tmp_path: Path) -> None:
    """Streams, displays, traceback, and the name and text of an exception: a terminal gets colours and text."""
    (tmp_path / "cell.py").write_text(
        "import sys\nfrom IPython.display import display\n"
        f"evil = {EVIL!r}\n"
        "print('out \\x1b[32mgreen ' + evil); print('err ' + evil, file=sys.stderr)\n"
        "display({'text/plain': 'disp ' + evil, 'text/html': '<b>x'}, raw=True)\n"
        "raise type('Evil' + evil, (Exception,), {})('msg ' + evil + '\\nsecond ' + evil)\n"
    )
    said = io.StringIO()
    program, *words = command("run", str(tmp_path / "cell.py"))
    child = pexpect.spawn(program, words, env=dict(cluster), encoding="utf-8", timeout=60)
    child.logfile_read = said
    child.expect(pexpect.EOF)
    child.close()
    written = said.getvalue().replace("\r\n", "\n")
    for part in ("out \x1b[32mgreen", "err ", "disp ", "msg ", "✘"):
        assert part in written, written
    # the line of our own that is rewritten, and a cell that goes back over its own line
    rest = re.sub(r"\r?\x1b\[2K", "", written).replace("evil\x08\rback", "")
    assert HARMFUL.search(rest) is None, rest


def test_a_dead_letter_is_found_however_many_jobs_came_since(codeexec: Codeexec, client: Client) -> None:
    """The start of its id names it also when it is no longer among the latest jobs."""
    broker = ("--broker", client.settings.broker_url or "")
    task_id = dead(client)
    client.store.redis.zrem(f"{client.store.prefix}jobs", task_id)
    assert codeexec(*broker, "dlq", "requeue", task_id[:8]) == (0, f"requeued {task_id}\n", "")


def test_tables_end_where_the_terminal_ends(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last column is cut on a terminal, by the columns that are seen, and whole in a pipe."""
    monkeypatch.setenv("COLUMNS", "30")
    rows = [("a", "\x1b[31mred\x1b[0m", "日本語" * 20), ("long", "b", "short")]
    terminal.table(("ONE", "TWO", "THREE"), rows)
    assert "日本語" * 20 in capsys.readouterr().out
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    terminal.table(("ONE", "TWO", "THREE"), rows)
    lines = capsys.readouterr().out.splitlines()
    assert max(terminal.columns(line) for line in lines) in (29, 30)
    assert lines[1].endswith("…")
    assert lines[2].endswith("short")


def test_doctor_says_what_is_missing(
    codeexec: Codeexec, client: Client, monkeypatch: pytest.MonkeyPatch, redis_server: PrivateServer
) -> None:
    """An unreachable broker and absent workers are named, each with what to do about it."""
    _, out, _ = codeexec("--broker", redis_server.url, "doctor", "--json")
    findings = json.loads(out)["findings"]
    assert [one["level"] for one in findings if one["what"] == "broker"] == ["ok"]
    assert any("0 listen on code_execution" in one["text"] and "codeexec worker" in one["fix"] for one in findings)
    assert any(one["what"] == "isolation" for one in findings)
    status, out, _ = codeexec("--broker", "redis://localhost:1/0", "doctor")
    assert status == 1
    assert "cannot reach the broker at redis://localhost:1/0" in out
    assert re.search(r"^\d problems? found$", out, re.MULTILINE)


def test_doctor_names_missing_packages(codeexec: Codeexec, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing extra is named with the command that installs it."""
    from codeexec_magic.cli import doctor

    known = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "nh3" else known(name))
    assert "pip install 'codeexec-magic[notebook]'" in codeexec("doctor")[1]


@pytest.fixture
def no_namespaces() -> Iterator[list[str]]:
    """Command prefix for a host that forbids further user namespaces, while we may do all else there."""
    if os.geteuid() != 0:
        missing("root, who may make such a host")
    with subprocess.Popen(["unshare", "--user", "sleep", "60"]) as inside:
        wait_until(lambda: Path(f"/proc/{inside.pid}/cmdline").read_bytes().startswith(b"sleep"), 5, "the namespace")
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{inside.pid}/{name}").write_text("0 0 65536\n")
        script = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
        yield ["nsenter", f"--user=/proc/{inside.pid}/ns/user", "-S", "0", "-G", "0", "sh", "-c", script, "sh"]
        inside.kill()


def test_doctor_explains_a_weaker_host(no_namespaces: list[str]) -> None:
    """Where user namespaces are forbidden it says so, what that costs and how to allow them."""
    for level, verdict in (("1", ""), ("2", "; workers here demand 2 and will not start")):
        env = {**os.environ, "CODEEXEC_REQUIRED_ISOLATION": level}
        command_ = [*no_namespaces, *command("doctor")]
        done = subprocess.run(command_, env=env, capture_output=True, text=True, timeout=100, check=False)
        assert f"level 1 of 2: limits and system-call filters{verdict}\n" in done.stdout, done.stdout + done.stderr
        assert "missing: namespaces: " in done.stdout
        assert "user.max_user_namespaces" in done.stdout
        assert done.returncode == (1 if verdict else 0)


def test_lab_without_jupyterlab_names_the_extra(codeexec: Codeexec, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message is the fix."""
    from codeexec_magic.cli import services

    monkeypatch.setattr(services.importlib.util, "find_spec", lambda name: None)
    status, _, err = codeexec("lab")
    assert status == 2
    assert "pip install 'codeexec-magic[lab]'" in err


def test_lab_opens_jupyterlab_on_the_notebooks(codeexec: Codeexec, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a checkout the notebooks folder is opened, and further arguments reach JupyterLab."""
    shown = subprocess.run(command("lab", "--version"), capture_output=True, text=True, timeout=60, check=True)
    assert re.match(r"\d+\.\d+", shown.stdout)
    assert shown.stderr.startswith("JupyterLab on ")
    assert shown.stderr.strip().endswith("/notebooks")


def test_cluster_commands(cluster: dict[str, str]) -> None:
    """Status, logs, stop, start: each says what it did."""
    shown = json.loads(finished(cluster, "cluster", "status", "--json").stdout)
    assert shown["state"] == "ready"
    assert shown["directory"] == cluster["CODEEXEC_HOME"]
    assert "state              ready" in finished(cluster, "cluster", "status").stdout
    assert "ready after" in finished(cluster, "cluster", "logs", "-n", "100").stdout
    assert finished(cluster, "cluster", "start").stdout == f"running: {shown['broker_url']}\n"
    assert finished(cluster, "cluster", "restart").returncode == 0
    assert json.loads(finished(cluster, "cluster", "status", "--json").stdout)["daemon_pid"] != shown["daemon_pid"]


# -- with workers


def test_run_passes_output_and_success_on(cluster: dict[str, str], tmp_path: Path) -> None:
    """Standard output and error of the cell are ours, nothing else is written, and the status is 0."""
    (tmp_path / "cell.py").write_text("import sys\nprint('out')\nprint('err', file=sys.stderr)\n6 * 7\n")
    done = finished(cluster, "run", str(tmp_path / "cell.py"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "out\n42\n", "err\n")


def test_run_shows_the_last_state_of_a_display(cluster: dict[str, str]) -> None:
    """A display that changes is written as it was first and as it ended; on a terminal it would be rewritten."""
    code = """
bar = display({'text/plain': '0 %'}, raw=True, display_id=True)
for i in (30, 60, 100): bar.update({'text/plain': f'{i} %'}, raw=True)
print('after')
"""
    assert finished(cluster, "run", "--no-cache", "-", input_=code).stdout == "0 %\n100 %\nafter\n"


def test_run_reports_failure(cluster: dict[str, str]) -> None:
    """A failed cell's traceback is on standard error, without colour codes in a pipe, and the status is 1."""
    done = finished(cluster, "run", "-", input_="print('before')\n1 / 0\n")
    assert (done.returncode, done.stdout) == (1, "before\n")
    assert "ZeroDivisionError: division by zero" in done.stderr
    assert "\x1b" not in done.stderr


def test_run_prints_json(cluster: dict[str, str]) -> None:
    """The whole result, and nothing else, for programs; the second time from the cache."""
    code = "print('hello')\n"
    done = finished(cluster, "run", "--json", "-", input_=code)
    result = json.loads(done.stdout)
    assert (result["success"], result["stdout"], result["cached"]) == (True, "hello\n", False)
    assert json.loads(finished(cluster, "run", "--json", "-", input_=code).stdout)["cached"] is True
    assert json.loads(finished(cluster, "run", "--json", "--no-cache", "-", input_=code).stdout)["cached"] is False
    assert finished(cluster, "run", "--json", "-", input_="raise KeyError").returncode == 1


def test_run_streams(cluster: dict[str, str]) -> None:
    """Output is here while the cell still runs, and Ctrl-C ends the cell."""
    code = "import time\nprint('first', flush=True)\ntime.sleep(60)\n"
    running = subprocess.Popen(
        command("run", "-"),
        env=cluster,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stdin is not None
    assert running.stdout is not None
    running.stdin.write(code)
    running.stdin.close()
    assert running.stdout.readline() == "first\n"
    assert running.poll() is None
    running.send_signal(signal.SIGINT)
    assert running.wait(60) == 130
    for stream in (running.stdout, running.stderr):
        assert stream is not None
        stream.close()


def test_worker_joins_the_embedded_cluster(cluster: dict[str, str]) -> None:
    """``codeexec worker`` without a broker serves the embedded cluster, and ends in order on SIGTERM."""
    env = {**cluster, "CODEEXEC_PRELOAD": "json"}
    running = subprocess.Popen(
        command("worker", "--queues", "extra", "--slots", "1", "--name", "second"),
        env=env,
        stderr=subprocess.PIPE,
        text=True,
    )

    def names() -> list[str]:
        shown = json.loads(finished(cluster, "queue", "--json").stdout)
        return [one["name"] for one in shown["queues"] if one["listeners"]]

    wait_until(lambda: "extra" in names(), 30, "the second worker")
    done = finished(cluster, "run", "--queue", "extra", "-", input_="print('there')")
    assert done.stdout == "there\n"
    running.send_signal(signal.SIGTERM)
    assert running.wait(60) == 0
    assert running.stderr is not None
    running.stderr.close()


def test_demo_does_everything_it_shows(cluster: dict[str, str]) -> None:
    """Every step of the demonstration ends as it should, twice in a row, and no dead letter is left."""
    for _ in range(2):
        done = finished(cluster, "demo")
        assert done.returncode == 0, done.stdout + done.stderr
        assert all(step.title in done.stdout for step in STEPS)
        assert f"all {len(STEPS)} cells did what they should" in done.stdout
    assert json.loads(finished(cluster, "dlq", "list", "--json").stdout) == []


def test_demo_fails_when_something_does_not_happen(cluster: dict[str, str]) -> None:
    """A demonstration on workers without the promised limit does not claim success."""
    code = (
        "import dataclasses, sys; from codeexec_magic.cli import demo, root;"
        "demo.STEPS = (dataclasses.replace(demo.STEPS[-1], code='1'), demo.STEPS[3]); sys.exit(root.call(['demo']))"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], env=cluster, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 1
    assert "1 of 2 did not do what they should: A cell that wants too much is stopped" in done.stdout


def test_demo_without_workers_says_so(codeexec: Codeexec, client: Client) -> None:
    """It does not wait for workers that are not there."""
    status, out, err = codeexec("--broker", client.settings.broker_url or "", "demo")
    assert (status, out) == (2, "")
    assert "0 workers listen on code_execution of redis+socket:" in err


def test_doctor_of_a_working_machine(cluster: dict[str, str]) -> None:
    """With server, worker and sandbox in place it finds nothing that cannot work."""
    done = finished(cluster, "doctor", "--json")
    report = json.loads(done.stdout)
    assert [one for one in report["findings"] if one["level"] == "bad"] == []
    assert done.returncode == 0
    assert any("1 listen on code_execution" in one["text"] for one in report["findings"])


# -- small parts


def test_only_the_gate_writes_to_the_terminal() -> None:
    """No command prints past ``codeexec_magic.cli.terminal``."""
    folder = Path(terminal.__file__).parent
    for path in sorted(folder.glob("*.py")):
        if path.name == "terminal.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            assert called not in ("print", "click.echo", "click.secho", "click.confirm", "click.prompt"), path
            assert not re.fullmatch(r"sys\.(stdout|stderr)\.write", called), path


@pytest.mark.parametrize(
    ("value", "text"), [(None, "-"), (0.012, "12 ms"), (3.21, "3.2 s"), (300, "5 min"), (9000, "2.5 h")]
)
def test_durations(value: Any, text: str) -> None:
    """Durations read as people say them."""
    assert terminal.seconds(value) == text


def test_a_dropped_dead_letter_says_so(client: Client) -> None:
    """Dropped, purged and requeued: the job's record knows whether its letter is still there."""
    first, second = dead(client), dead(client, "hoard(2)")
    assert not client.job(first).state().dropped
    client.drop(first)
    assert client.job(first).state().dropped
    assert not client.job(second).state().dropped
    client.purge_dead_letters()
    assert client.job(second).state().dropped
    client.requeue(first)
    assert not client.job(first).state().dropped
    assert not client.store.redis.exists(f"{client.store.prefix}job:unknown")
