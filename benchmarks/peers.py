"""The peers: each a context manager that yields one call to time. All of them are real and run in this very run."""

from __future__ import annotations

import contextlib
import importlib.util
import multiprocessing
import shutil
import subprocess
import sys
from collections.abc import Iterator

from benchmarks import noop
from benchmarks.stand import SLOTS, Stand
from benchmarks.timing import Call

IMPORTS = "import numpy, pandas, matplotlib.pyplot"
PYTHON = [sys.executable, "-c", f"{IMPORTS}\n1+1"]
#: namespaces like ours, the host's files read-only: what a careful user of bubblewrap writes
BWRAP = ["bwrap", "--unshare-all", "--die-with-parent", "--new-session"]
BWRAP += ["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]


@contextlib.contextmanager
def celery(stand: Stand) -> Iterator[Call]:
    """A task that does nothing: same broker, same pool, same slots, Celery's own result backend."""
    options = ["-P", "threads", "-c", str(SLOTS), "-Q", "bench_noop", "-n", "noop@%h"]
    command = [sys.executable, "-m", "celery", "-A", "benchmarks.noop", "worker", *options]
    with stand.running([*command, "--without-mingle", "--without-gossip", "--loglevel=WARNING"], "celery"):
        noop.app.conf.update(broker_url=stand.server.url, result_backend=stand.server.backend_url)
        noop.noop.delay().get(60)
        yield lambda: noop.noop.delay().get(60)


@contextlib.contextmanager
def rq(stand: Stand) -> Iterator[Call]:
    """rq's default worker: a fork for every job, no sandbox."""
    from redis import Redis
    from rq import Queue

    path = str(stand.server.socket)
    command = [sys.executable, "-m", "rq.cli", "worker", "--url", f"unix://{path}?db=2", "--quiet", "bench"]
    queue = Queue("bench", connection=Redis(unix_socket_path=path, db=2, socket_timeout=90))

    def call() -> None:
        job = queue.enqueue(noop.nothing)
        result = job.latest_result(timeout=60)
        assert result is not None
        assert result.return_value == 2

    with stand.running(command, "rq"):
        call()
        yield call
    queue.connection.close()


@contextlib.contextmanager
def ipyparallel(_stand: Stand) -> Iterator[Call]:
    """A warm engine that executes in its own process: nothing is fresh, nothing is confined."""
    import ipyparallel as ipp

    with ipp.Cluster(n=1, log_level=40) as connected:
        engine = connected[0]
        engine.execute(IMPORTS, block=True)
        yield lambda: engine.execute("1+1", block=True)


@contextlib.contextmanager
def pool(_stand: Stand) -> Iterator[Call]:
    """A warm process pool: one function call in another process, the least there can be."""
    with multiprocessing.get_context("spawn").Pool(SLOTS) as made:
        yield lambda: made.apply(noop.nothing)


@contextlib.contextmanager
def plain(_stand: Stand) -> Iterator[Call]:
    """A new interpreter that imports the same libraries."""
    yield lambda: subprocess.run(PYTHON, check=True, stdout=subprocess.DEVNULL)


@contextlib.contextmanager
def bubblewrap(stand: Stand) -> Iterator[Call]:
    """The same in bubblewrap's namespaces; no memory limit, no seccomp filter, no Landlock."""
    folder = stand.directory / "bwrap"
    folder.mkdir()
    # matplotlib wants a folder to write to, and would build its list of fonts anew in an empty one
    own = ["--bind", str(folder), str(folder), "--setenv", "MPLCONFIGDIR", str(folder)]
    yield lambda: subprocess.run([*BWRAP, *own, *PYTHON], check=True, stdout=subprocess.DEVNULL)


ALL = {
    "Celery no-op": celery,
    "ipyparallel": ipyparallel,
    "rq": rq,
    "process pool": pool,
    "subprocess": plain,
    "bubblewrap": bubblewrap,
}
#: these cost hundreds of milliseconds a call
SLOW = ("subprocess", "bubblewrap")


@contextlib.contextmanager
def opened(stand: Stand, names: list[str]) -> Iterator[dict[str, Call]]:
    """The peers by name, those that can run here."""
    with contextlib.ExitStack() as stack:
        calls = {}
        for name in names:
            why = missing(name)
            if why:
                print(f"without {name}: {why}", file=sys.stderr)
            else:
                calls[name] = stack.enter_context(ALL[name](stand))
        yield calls


def missing(name: str) -> str | None:
    """Why a peer cannot run here."""
    if name in ("rq", "ipyparallel") and importlib.util.find_spec(name) is None:
        return "pip install 'codeexec-magic[bench]'"
    if name == "bubblewrap":
        if shutil.which("bwrap") is None:
            return "bwrap is not installed"
        tried = subprocess.run([*BWRAP, "true"], check=False, capture_output=True, text=True)
        if tried.returncode:
            return tried.stderr.strip()
    return None


__all__ = ["ALL", "SLOW", "missing", "opened"]
