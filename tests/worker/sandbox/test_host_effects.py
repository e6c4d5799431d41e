"""What hostile cells do to the host's files and sockets, seen from the host while they run and afterwards."""

from __future__ import annotations

import array
import contextlib
import email
import fcntl
import os
import socket
import sys
import sysconfig
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import wait_until

from codeexec_magic.contract import Reason, stream_text
from codeexec_magic.limits import Limits
from worker.sandbox import Cell, Run, Sandbox

pytestmark = pytest.mark.abuse

CASES = Path(__file__).parent / "abuse"
LIMITS = Limits(soft_s=40.0, hard_s=45.0)
#: files and folders of the host that the cases lock, lease, watch and change
SHARED = [
    *("/dev/null", "/dev/zero", "/etc/ssl/certs", "/usr/bin", "/usr/share/zoneinfo"),
    *(os.path.realpath(sys.executable), os.__file__, sysconfig.get_path("stdlib"), email.__file__),
]
#: FS_IOC_GETFLAGS, FS_IOC_GETVERSION, FS_IOC_FSGETXATTR: the request and the bytes of its answer
ATTRIBUTES = ((0x80086601, 8), (0x80087601, 8), (0x801C581F, 28))


@pytest.fixture(scope="module", params=[2, 1], ids=["level 2", "level 1"])
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """With namespaces, and without; network is granted to the cells that ask for it."""
    with Sandbox(
        slots=1, preload=(), required_isolation=0, level=request.param, allow_network=True, allow_loopback=True
    ) as one:
        assert one.report["level"] == request.param
        yield one


class Running:
    """A cell that runs while the test looks at the host."""

    def __init__(self, sandbox: Sandbox, code: str, *, network: bool = False) -> None:
        self.events: list[dict[str, Any]] = []
        self._run: Run = sandbox.run(Cell("effects", textwrap.dedent(code), LIMITS, network=network))
        self._thread = threading.Thread(target=self._wait)
        self._thread.start()

    def _wait(self) -> None:
        self.outcome = self._run.wait(self.events.append)

    @property
    def stdout(self) -> str:
        """So far."""
        return stream_text(list(self.events), "stdout")

    def goes_on(self) -> bool:
        """Whether it has not ended."""
        return self._thread.is_alive()

    def says(self, text: str) -> None:
        """Wait until it has printed this, or has ended."""
        wait_until(lambda: text in self.stdout or not self.goes_on(), 60, text)

    def end(self) -> None:
        """Wait for its end, which must be an ordinary one."""
        self._thread.join()
        assert self.outcome.reason in (Reason.OK, Reason.ERROR), self.outcome


def held() -> set[str]:
    """Those of the shared files on which anybody holds a lock or a lease, as the kernel lists them."""
    inodes = {}
    for path in SHARED:
        info = Path(path).stat()
        inodes[f"{os.major(info.st_dev):02x}:{os.minor(info.st_dev):02x}:{info.st_ino}"] = path
    lines = Path("/proc/locks").read_text().splitlines()
    return {inodes[word] for line in lines for word in line.split() if word in inodes}


def attributes() -> dict[str, list[bytes]]:
    """Flags, generation and extended attributes of the shared files, as far as their file systems have any."""
    found: dict[str, list[bytes]] = {}
    for path in (email.__file__, str(Path(email.__file__).parent), os.__file__):
        fd = os.open(path, os.O_RDONLY)
        for request, size in ATTRIBUTES:
            answer = array.array("B", bytes(size))
            with contextlib.suppress(OSError):
                fcntl.ioctl(fd, request, answer)
                found.setdefault(path, []).append(answer.tobytes())
        os.close(fd)
    return found


def test_the_host_sees_a_lock() -> None:
    """The observation that the tests below rely on shows a lock where there is one."""
    assert held() == set()
    with Path(os.__file__).open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        assert held() == {os.__file__}
    assert held() == set()
    assert attributes()


@pytest.mark.parametrize("number", ["936", "938", "939", "945"])
def test_files_of_the_host_stay_as_they_are(sandbox: Sandbox, number: str) -> None:
    """While the case runs nobody holds a lock or lease on them, and afterwards their attributes are the same."""
    before = attributes()
    (path,) = CASES.glob(f"{number}_*.py")
    cell = Running(sandbox, path.read_text())
    seen: set[str] = set()
    wait_until(lambda: seen.update(held()) or not cell.goes_on(), 60, "the end of the case")
    assert seen == set()
    assert attributes() == before


def test_a_lock_that_cannot_be_refused_ends_with_its_cell(sandbox: Sandbox) -> None:
    """A record lock by ``fcntl`` on a file of the host is seen within moments: the cell is killed, the lock is gone."""
    (path,) = CASES.glob("943_*.py")
    cell = Running(sandbox, path.read_text())
    wait_until(lambda: not cell.goes_on(), 15, "the end of the cell")
    assert cell.outcome.reason is Reason.SIGNAL
    assert held() == set()


def test_a_cell_does_not_learn_what_the_host_reads(sandbox: Sandbox) -> None:
    """The host reads files of every folder that the case watches, while it does."""
    (path,) = CASES.glob("936_*.py")
    cell = Running(sandbox, path.read_text())
    cell.says("watching")
    assert cell.goes_on()
    folder = Path(sysconfig.get_path("stdlib"))
    while cell.goes_on():
        for name in ("wsgiref/simple_server.py", "xmlrpc/client.py", "curses/ascii.py", "sqlite3/dbapi2.py"):
            (folder / name).read_bytes()
    cell.end()
    assert "CONTAINED" in cell.stdout


ABSTRACT = """
    import socket, time
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
        try:
            with socket.socket(socket.AF_UNIX, kind) as one:
                one.settimeout(2)
                one.connect(f"{HOST}-{int(kind)}")
                one.send(b"from the cell")
        except OSError as err:
            print(type(err).__name__)
    try:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(CELL)
        listener.listen()
        listener.settimeout(5)
        print("bound", flush=True)
        listener.accept()
    except TimeoutError:
        pass
    except OSError as err:
        print("not bound", flush=True)
        time.sleep(2)
"""


@contextlib.contextmanager
def listening(name: str) -> Iterator[list[socket.socket]]:
    """Abstract sockets of the host, of each kind, proven to be reachable by whoever is not confined."""
    with contextlib.ExitStack() as stack:
        listeners = []
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
            listener = stack.enter_context(socket.socket(socket.AF_UNIX, kind))
            listener.bind(f"{name}-{int(kind)}")
            if kind is not socket.SOCK_DGRAM:
                listener.listen()
            listener.setblocking(False)
            listeners.append(listener)
        with socket.socket(socket.AF_UNIX) as control:
            control.connect(f"{name}-{int(socket.SOCK_STREAM)}")
            listeners[0].accept()[0].close()
        yield listeners


@pytest.mark.parametrize("network", [False, True], ids=["no network", "network"])
def test_abstract_sockets(sandbox: Sandbox, network: bool) -> None:
    """No cell reaches an abstract unix socket of the host; the host reaches one of a cell that got its network.

    Such sockets belong to no folder but to the network. Without namespaces a cell has no unix sockets at all; with
    namespaces it has a network of its own or, where it was granted the host's, Landlock keeps it from the host's.
    """
    host, name = f"\0codeexec-host-{os.getpid()}", f"\0codeexec-cell-{os.getpid()}"
    code = f"HOST, CELL = {host!r}, {name!r}\n{textwrap.dedent(ABSTRACT)}"
    with listening(host) as listeners, socket.socket(socket.AF_UNIX) as outside:
        cell = Running(sandbox, code, network=network)
        cell.says("bound")
        assert cell.goes_on(), cell.outcome
        reached = outside.connect_ex(name) == 0
        cell.end()
        assert reached == (network and sandbox.report["level"] == 2)
        for listener in listeners:
            with pytest.raises(BlockingIOError):
                listener.recv(1) if listener.type is socket.SOCK_DGRAM else listener.accept()
    namespaces = sandbox.report["level"] == 2
    refused = ("PermissionError" if network else "ConnectionRefusedError") if namespaces else "OSError"
    assert cell.stdout.split() == [*[refused] * 3, *(["bound"] if namespaces else ["not", "bound"])]
