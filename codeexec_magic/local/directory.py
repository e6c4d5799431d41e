"""The embedded cluster's folder: where it is, who may have it, and what the files in it say."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from codeexec_magic.errors import ClusterStartFailed
from codeexec_magic.local.server import check_socket_path
from codeexec_magic.settings import ClusterSettings
from codeexec_magic.version import __version__

#: a log longer than this is cut to its last half
LOG_BYTES = 4 * 2**20


@dataclass(frozen=True)
class State:
    """The state that the daemon last wrote."""

    pid: int  #: of the daemon
    born: int  #: its start time in clock ticks, which a later process with the same pid does not share
    stage: str = "starting"  #: starting, ready, stopping or failed
    server: str = ""  #: product and version
    server_pid: int | None = None
    server_born: int | None = None
    worker_pid: int | None = None
    worker_born: int | None = None
    answers: bool = False  #: the server has loaded its data
    slots: int = 0
    idle_s: float = 0.0  #: it stops after this long without clients and without work
    since: float = 0.0  #: epoch seconds of the daemon's start
    error: str = ""  #: why it failed

    @property
    def alive(self) -> bool:
        """Whether that daemon still runs."""
        return born(self.pid) == self.born


@dataclass(frozen=True)
class ClusterDirectory:
    """One embedded cluster's folder."""

    path: Path
    own: tuple[Path, ...]  #: the folders that must be ours alone, outermost first

    @classmethod
    def locate(cls, settings: ClusterSettings | None = None) -> ClusterDirectory:
        """The folder the settings name. Nothing is created or checked yet."""
        settings = settings or ClusterSettings.from_env()
        if settings.home:
            path = Path(os.path.abspath(settings.home))  # noqa: PTH100 -- resolve() would follow the links we refuse
            return cls(path, (path,))
        # One cluster per environment and version: cells must find the libraries of the kernel that sent them, and
        # two versions must not share one worker. The older cluster stops by itself when it is no longer used.
        key = hashlib.sha256(f"{sys.prefix}\0{__version__}".encode()).hexdigest()[:8]
        runtime = os.environ.get("XDG_RUNTIME_DIR", "")
        if runtime.startswith("/") and _owner(Path(runtime)) == os.geteuid():
            base = Path(runtime) / "codeexec"
        else:
            base = Path(tempfile.gettempdir()) / f"codeexec-{os.geteuid()}"
        return cls(base / key, (base, base / key))

    @property
    def socket(self) -> Path:
        """Where the server listens."""
        return self.path / "s.sock"

    @property
    def data(self) -> Path:
        """The server's data."""
        return self.path / "data"

    def log(self, name: str) -> Path:
        """The log of ``daemon``, ``server`` or ``worker``."""
        return self.path / f"{name}.log"

    def create(self) -> None:
        """Make the folder, or check that the existing one is ours alone.

        Raises:
            ClusterStartFailed: it cannot be made, or others could reach what is in it.
        """
        check_socket_path(self.socket)
        try:
            self.own[0].parent.mkdir(parents=True, exist_ok=True)
            for folder in self.own:
                with contextlib.suppress(FileExistsError):
                    folder.mkdir(mode=0o700)
                _check_private(folder)
            self.data.mkdir(mode=0o700, exist_ok=True)
        except OSError as err:
            raise ClusterStartFailed(
                f"cannot use the folder {self.path} ({err.strerror or err}): set CODEEXEC_HOME to another one"
            ) from None

    def exists(self) -> bool:
        """Whether the folder is there.

        Raises:
            ClusterStartFailed: it is there, but others could reach what is in it.
        """
        for folder in self.own:
            if _owner(folder) is None:
                return False
            _check_private(folder)
        return True

    def read(self) -> State | None:
        """The state file; None when there is none, or what is there makes no sense."""
        try:
            found = json.loads((self.path / "state.json").read_bytes())
            # a daemon of another version may say more
            return State(**{name: found[name] for name in State.__dataclass_fields__ if name in found})
        except (OSError, ValueError, TypeError):
            return None

    def write(self, state: State) -> None:
        """Replace the state file in one step."""
        new = self.path / f"state.{os.getpid()}.new"
        new.write_text(json.dumps(asdict(state)))
        new.replace(self.path / "state.json")

    def forget(self) -> None:
        """Remove state file and socket."""
        (self.path / "state.json").unlink(missing_ok=True)
        self.socket.unlink(missing_ok=True)

    @contextlib.contextmanager
    def lock(self, name: str, timeout: float) -> Iterator[None]:
        """Hold one of the folder's locks; the kernel releases it when the holder dies, however it dies.

        Raises:
            TimeoutError: another process held it all the time.
        """
        deadline = time.monotonic() + timeout
        descriptor = os.open(self.path / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() >= deadline:
                        raise TimeoutError(name) from None
                    time.sleep(0.01)
            yield
        finally:
            os.close(descriptor)

    def trim_logs(self) -> None:
        """Keep the logs short; they are open for appending, so the writers go on at the new end."""
        for name in ("daemon", "server", "worker"):
            path = self.log(name)
            with contextlib.suppress(OSError):  # a full disk is no reason to end the cluster
                if path.stat().st_size > LOG_BYTES:
                    tail = path.read_bytes()[-LOG_BYTES // 2 :]
                    os.truncate(path, 0)
                    with path.open("ab") as log:
                        log.write(tail)


def born(pid: int) -> int | None:
    """Start time of a live process in clock ticks since boot; None when there is none or it is a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return None
    return None if fields[0] in ("Z", "X") else int(fields[19])


def tail(path: Path, lines: int) -> str:
    """The last lines of a file; empty when it cannot be read."""
    try:
        with path.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - 1000 * lines))
            return "\n".join(log.read().decode(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""


def with_children(state: State, server_pid: int | None, worker_pid: int | None) -> State:
    """``state`` with the processes that run now."""
    return replace(
        state,
        server_pid=server_pid,
        server_born=born(server_pid) if server_pid else None,
        worker_pid=worker_pid,
        worker_born=born(worker_pid) if worker_pid else None,
    )


def _owner(path: Path) -> int | None:
    try:
        return path.lstat().st_uid
    except OSError:
        return None


def _check_private(folder: Path) -> None:
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise ClusterStartFailed(f"{folder} is not a folder (a link is refused too): remove it or set CODEEXEC_HOME")
    if found.st_uid != os.geteuid():
        raise ClusterStartFailed(f"{folder} belongs to user {found.st_uid}, not to you: set CODEEXEC_HOME")
    if found.st_mode & 0o077:
        mode = stat.S_IMODE(found.st_mode)
        raise ClusterStartFailed(f"{folder} is open to others (mode {mode:o}): chmod 700 it or set CODEEXEC_HOME")
