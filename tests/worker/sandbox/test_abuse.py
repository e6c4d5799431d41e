"""Hostile and legitimate cells in real sandboxes: every case file, and what must be seen from outside."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from weakened import without

from codeexec_magic.contract import Reason, stream_text
from codeexec_magic.limits import Limits
from codeexec_magic.settings import WorkerSettings
from worker.sandbox import Cell, Outcome, Sandbox
from worker.sandbox.linux import bpf, processes, syscalls

pytestmark = pytest.mark.abuse

CASES = Path(__file__).parent / "abuse"
CANARY_TEXT = "canary-secret"
SHORT = Limits(soft_s=0.75, hard_s=1.5)
DRIP = Limits(soft_s=1.5, hard_s=3.0)
USUAL = Limits(soft_s=25.0, hard_s=30.0)
BRIEF = Limits(soft_s=25.0, hard_s=30.0, cpu_s=1)
SMALL = Limits(soft_s=25.0, hard_s=30.0, memory_mb=256)
PATIENT = Limits(soft_s=80.0, hard_s=85.0)
ROOMY = Limits(soft_s=25.0, hard_s=30.0, output_kb=8192)


@dataclass
class Seen:
    """One run, as seen from outside."""

    outcome: Outcome
    events: list[dict[str, Any]]
    seconds: float

    @property
    def stdout(self) -> str:
        return stream_text(self.events, "stdout")

    @property
    def stderr(self) -> str:
        return stream_text(self.events, "stderr")


@dataclass
class Expect:
    """What a case must show; any of ``reasons``, and ``check`` must hold."""

    reasons: tuple[Reason, ...] = (Reason.OK,)
    check: Callable[[Seen], bool] = lambda seen: True
    limits: Limits = USUAL
    twice: bool = False


def _contained(seen: Seen) -> bool:
    return "CONTAINED" in seen.stdout


def _contained_or(*reasons: Reason) -> Callable[[Seen], bool]:
    return lambda seen: "CONTAINED" in seen.stdout or seen.outcome.reason in reasons


def _at_the_limit_of_processes(seen: Seen) -> bool:
    return _contained(seen) and "limit of 10 processes" in seen.outcome.verdict


def _says(text: str) -> Callable[[Seen], bool]:
    return lambda seen: text in seen.stdout


R = Reason
_MEMORY = Expect((R.OK, R.MEMORY), _contained_or(R.MEMORY))
_CONTAINED = Expect((R.OK,), _contained)
_DISK = Expect((R.OK, R.DISK), _contained_or(R.DISK))
_LOCKER = Expect((R.SIGNAL,), lambda seen: "file" in seen.outcome.verdict and "locking" in seen.stdout)
_SLOW = Expect((R.TIMEOUT,), limits=SHORT)

#: number: expectation; a case without a line here fails
EXPECTED: dict[str, Expect] = {
    "002": _MEMORY,
    "004": _MEMORY,
    "005": Expect((R.OK, R.MEMORY, R.DISK), _contained_or(R.MEMORY)),
    "007": _MEMORY,
    "009": _CONTAINED,
    "010": Expect((R.MEMORY,), limits=PATIENT),
    "012": Expect((R.OK, R.TIMEOUT)),
    "014": Expect((R.OK,), _says("started")),
    "015": _CONTAINED,
    "017": _CONTAINED,
    "019": _CONTAINED,
    "020": _CONTAINED,
    "022": _SLOW,
    "024": _SLOW,
    "025": Expect((R.TIMEOUT,), _says("start"), SHORT),
    "027": Expect((R.TIMEOUT,), _says("swallowed SoftTimeLimitExceeded"), SHORT),
    "029": _SLOW,
    "030": _CONTAINED,
    "032": _CONTAINED,
    "034": _CONTAINED,
    "035": Expect((R.OK, R.TIMEOUT), _says("done"), SHORT),
    "037": Expect((R.TIMEOUT,), lambda seen: "partial-1" in seen.stdout and "partial-2" in seen.stdout, SHORT),
    "039": _CONTAINED,
    "040": _CONTAINED,
    "042": _CONTAINED,
    "044": Expect((R.OK,), _says("racing")),
    "045": _CONTAINED,
    "047": Expect((R.OK,), _says("names")),
    "049": Expect((R.OK,), _says("locked")),
    "050": _CONTAINED,
    "052": _CONTAINED,
    "054": _CONTAINED,
    "055": _CONTAINED,
    "057": _CONTAINED,
    "059": _CONTAINED,
    "060": Expect((R.OK,), _contained, twice=True),
    "062": _CONTAINED,
    "064": _CONTAINED,
    "065": _CONTAINED,
    "067": _CONTAINED,
    "069": _CONTAINED,
    "070": _CONTAINED,
    "072": _CONTAINED,
    "074": _CONTAINED,
    "075": Expect((R.OK, R.SIGNAL), _contained),
    "077": _CONTAINED,
    "079": Expect((R.OK,), lambda seen: "main done" in seen.stdout and seen.seconds < 5),
    "080": Expect((R.OK,), lambda seen: "left running" in seen.stdout and seen.seconds < 5),
    "082": Expect((R.TIMEOUT,), _says("waiting"), SHORT),
    "084": _CONTAINED,
    "085": _CONTAINED,
    "087": _CONTAINED,
    "089": _CONTAINED,
    "090": _CONTAINED,
    "092": _CONTAINED,
    "094": Expect((R.OK,), _says("zombies")),
    "095": _CONTAINED,
    "097": _CONTAINED,
    "099": Expect((R.OK,), twice=True),
    "100": _CONTAINED,
    "102": _CONTAINED,
    "104": Expect((R.OUTPUT,), lambda seen: bool(seen.outcome.truncated.get("stdout"))),
    "105": Expect((R.OUTPUT,), lambda seen: seen.stdout.startswith("hello")),
    "107": Expect((R.TIMEOUT,), lambda seen: ".." in seen.stdout, DRIP),
    "109": Expect((R.OK,), _says("forged")),
    "110": Expect((R.ERROR,), lambda seen: _ename(seen) == "ZeroDivisionError" and "forged" in seen.stdout),
    "112": Expect((R.OK,), lambda seen: not Path("/tmp/PWNED_BY_PICKLE").exists()),
    "114": _SLOW,
    "115": Expect((R.ERROR,), lambda seen: len(json.dumps(seen.outcome.error.as_dict())) < 1 << 20),  # type: ignore[union-attr]
    "117": Expect((R.OK,), _says("built")),
    "119": Expect((R.OK,), _says("before")),
    "120": Expect((R.EXIT,), lambda seen: "early" in seen.stdout and seen.outcome.returncode == 0),
    "122": Expect((R.EXIT,), lambda seen: seen.outcome.returncode == 137),
    "124": Expect((R.SIGNAL,), lambda seen: "SIGXCPU" in seen.outcome.verdict),
    "125": Expect((R.SIGNAL,), lambda seen: "SIGABRT" in seen.outcome.verdict and "aborting" in seen.stdout),
    "127": Expect((R.OK,), lambda seen: _interleaved(seen), ROOMY),
    "129": Expect((R.OK,), _says("gone")),
    "130": Expect((R.OK,), lambda seen: "replaced" in seen.stdout or _contained(seen)),
    "132": Expect((R.OK,), _says("writer left")),
    "134": Expect((R.DISK,), _contained),
    "135": Expect((R.OK,), lambda seen: seen.stdout == "ok 499500\n" and "OpenBLAS" not in seen.stderr),
    "136": Expect((R.OK,), lambda seen: "ok 600" in seen.stdout and 600 <= (seen.outcome.memory_used_mb or 0) <= 800),
    "137": Expect((R.OK,), _says("ok 28")),
    "138": Expect((R.OK,), _says("ok [0, 1, 4]")),
    "139": Expect((R.OK,), _says("hi")),
    "140": Expect((R.OK,), _says("ok 52428800")),
    "141": Expect((R.OK,), _says("ok b'ping'")),
    "142": Expect((R.OK,), lambda seen: "żółw 東京 🎉" in seen.stdout and "note" in seen.stderr),
    "143": Expect((R.OK,), _says("ok")),
    "900": _CONTAINED,
    "901": Expect((R.ERROR,), lambda seen: _ename(seen) == "ZeroDivisionError" and seen.stdout == "token\n"),
    "902": Expect((R.OK,), lambda seen: "sent" in seen.stdout and _is_strict(seen)),
    "903": Expect(
        (R.OK,), lambda seen: "shown" in seen.stdout and _is_strict(seen) and max(map(len, _ids(seen))) <= 256
    ),
    "904": Expect((R.OK, R.OUTPUT), lambda seen: len(seen.events) <= 10_100),  # a clear after a clear is nothing lost
    "905": _CONTAINED,
    "906": _CONTAINED,
    "907": _CONTAINED,
    "908": _CONTAINED,
    "909": Expect((R.OK, R.EXIT, R.ERROR, R.TIMEOUT), _says("before"), SHORT),
    "910": Expect((R.OK,), lambda seen: "main done" in seen.stdout and seen.seconds < 5),
    "911": Expect((R.OK, R.SIGNAL), _says("killing")),
    "912": Expect((R.TIMEOUT,), lambda seen: "hard limit" in seen.outcome.verdict and "stopping" in seen.stdout, SHORT),
    "913": Expect((R.EXIT,), _says("replaced")),
    "914": Expect((R.EXIT,), _says("closing")),
    "915": Expect((R.OK, R.ERROR), lambda seen: "main done" in seen.stdout and seen.seconds < 5),
    "916": Expect((R.OK, R.OUTPUT), _says("parts")),
    "917": Expect(
        (R.OUTPUT,),
        lambda seen: (
            "report of the cell's end" in seen.outcome.verdict
            and len(seen.outcome.left_behind) <= 20
            and max(len(name) for name, _ in seen.outcome.left_behind or [("", 0)]) <= 200
            and _size(seen) < 1 << 20
        ),
    ),
    # a lock on a pipe of the launcher is no lock on a file of the cell
    "918": Expect((R.OK, R.EXIT, R.SIGNAL), lambda seen: bool(seen.stdout)),
    "919": _CONTAINED,
    "920": _CONTAINED,
    "921": _CONTAINED,
    "922": Expect((R.OK, R.MEMORY), _contained_or(R.MEMORY), SMALL),
    "923": _CONTAINED,
    "924": _MEMORY,
    "925": Expect((R.MEMORY,)),
    "926": _MEMORY,
    "927": _MEMORY,
    "928": _DISK,
    "929": _DISK,
    "930": _DISK,
    "931": _DISK,
    "932": _CONTAINED,
    "933": Expect((R.OK,), _says("done")),
    "934": _DISK,
    "935": Expect((R.CPU,), limits=BRIEF),
    "936": _CONTAINED,
    "937": _CONTAINED,
    "938": _CONTAINED,
    "939": _CONTAINED,
    "940": _CONTAINED,
    "941": _CONTAINED,
    "942": Expect((R.OK,), _says("ok")),
    "943": _LOCKER,
    "944": _LOCKER,
    "945": Expect((R.OK, R.TIMEOUT), _contained),
    "946": Expect((R.OK,), _at_the_limit_of_processes),
    "947": Expect((R.OK,), _says("ok")),
    "948": Expect((R.OK,), _says("ok")),
    "949": Expect((R.OK,), _at_the_limit_of_processes, replace(USUAL, memory_mb=1200)),
    "950": Expect((R.OK,), _says("refused 3")),
}


_INHERENT = Expect((R.OK, R.ERROR))
#: what level 1 cannot hold by its nature, or holds in another way: without a process namespace other processes can
#: be counted, without a mount namespace a quota is sampled and there is no /dev/shm of one's own for semaphores
EXPECTED_1: dict[str, Expect] = {
    "017": Expect((R.OK, R.DISK), _contained_or(R.DISK)),
    "074": _INHERENT,
    "075": _INHERENT,
    "100": _INHERENT,
    "102": _INHERENT,
    "134": Expect((R.DISK,)),
    "138": Expect((R.ERROR,), lambda seen: _ename(seen) == "PermissionError"),
}


def _ename(seen: Seen) -> str:
    return seen.outcome.error.ename if seen.outcome.error else ""


def _ids(seen: Seen) -> list[str]:
    return [event["transient"]["display_id"] for event in seen.events if "transient" in event]


def _size(seen: Seen) -> int:
    return len(json.dumps([seen.events, seen.outcome.error.as_dict() if seen.outcome.error else None]))


def _is_strict(seen: Seen) -> bool:
    """Whether a browser, a notebook file and Redis can take every event."""
    json.dumps(seen.events, allow_nan=False, ensure_ascii=False).encode()
    bundles = [event["data"] for event in seen.events if "data" in event]
    return all(isinstance(v, str) or k.endswith("json") for bundle in bundles for k, v in bundle.items())


def _interleaved(seen: Seen) -> bool:
    return seen.stdout == "o" * (64 << 16) + "done\n" and seen.stderr == "e" * (64 << 16)


class Canaries:
    """What stands outside and must be neither seen nor touched."""

    def __init__(self) -> None:
        self.file = Path("/tmp/sandbox_canary_host.txt")
        self.folder = Path("/tmp/sandbox_canary_dir")
        self.socket = Path("/tmp/sandbox_canary.sock")
        self._listeners: list[socket.socket] = []
        self.touched = 0

    def __enter__(self) -> Canaries:
        os.environ["SANDBOX_CANARY_ENV"] = "canary-secret-env"
        self.file.write_text("canary-secret-file")
        self.file.chmod(0o644)
        (self.folder / "keep").mkdir(parents=True, exist_ok=True)
        self.socket.unlink(missing_ok=True)
        for family, address in (
            (socket.AF_INET, ("127.0.0.1", 6379)),
            (socket.AF_UNIX, str(self.socket)),
            (socket.AF_UNIX, "\0sandbox_canary"),
        ):
            listener = socket.socket(family)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(address)
            except OSError:
                listener.close()  # a real server has the port: as good a canary
                continue
            listener.listen()
            listener.set_inheritable(True)
            self._listeners.append(listener)
            threading.Thread(target=self._answer, args=(listener,), daemon=True).start()
        self.root = os.open("/", os.O_RDONLY)
        os.set_inheritable(self.root, True)
        self.memory = syscalls.libc.shmget(0, 4096, 0o1666)
        syscalls.libc.shmat.restype = ctypes.c_void_p
        place = syscalls.libc.shmat(self.memory, None, 0)
        ctypes.memmove(place, b"canary-secret-shm", 17)
        syscalls.libc.shmdt(ctypes.c_void_p(place))
        self.before = self._state()
        return self

    def _answer(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = listener.accept()
                self.touched += 1
                peer.send(b"+PONG\r\n")
                peer.close()

    def _state(self) -> tuple[Any, ...]:
        names = (self.file, self.folder, self.folder / "keep")
        stats = [(s.st_mode, s.st_uid, s.st_gid) for s in map(os.stat, names)]
        memory = syscalls.libc.shmctl(self.memory, 2, ctypes.create_string_buffer(512))
        return (*stats, memory, self.file.read_text(), sorted(self.folder.iterdir()))

    def intact(self) -> bool:
        return self.touched == 0 and self._state() == self.before

    def __exit__(self, *_exc: object) -> None:
        os.environ.pop("SANDBOX_CANARY_ENV", None)
        os.close(self.root)
        syscalls.libc.shmctl(self.memory, 0, None)
        for listener in self._listeners:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        for path in (self.file, self.socket):
            path.unlink(missing_ok=True)
        (self.folder / "keep").rmdir()
        self.folder.rmdir()


@pytest.fixture(scope="module")
def canaries() -> Iterator[Canaries]:
    """Everything the cases look for, outside of the sandbox."""
    with Canaries() as canaries:
        yield canaries


def run(sandbox: Sandbox, code: str, limits: Limits = USUAL) -> Seen:
    """Run one cell."""
    events: list[dict[str, Any]] = []
    start = time.monotonic()
    outcome = sandbox.run(Cell("abuse", code, limits)).wait(events.append)
    return Seen(outcome, events, time.monotonic() - start)


GATE = """
import os
status = dict(l.split(":", 1) for l in open("/proc/self/status").read().splitlines())
assert status["Seccomp"].strip() == "2" and status["NoNewPrivs"].strip() == "1"
assert os.getpid() < 64 and os.getuid() != 0
print("guarded")
"""


GATE_1 = """
status = dict(l.split(":", 1) for l in open("/proc/self/status").read().splitlines())
assert status["Seccomp"].strip() == "2" and status["NoNewPrivs"].strip() == "1" and int(status["CapEff"], 16) == 0
try:
    open("/etc/hostname")
except PermissionError:
    print("guarded")
"""


#: an interpreter of cells whose every process is refused namespaces, as a container engine's filter does it
REFUSING = """#!{python} -IS
import ctypes, os, struct, sys
program = bytes.fromhex("{program}")
code = ctypes.create_string_buffer(program, len(program))
head = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(code)))
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, ctypes.c_ulong(ctypes.addressof(head)), 0, 0) == 0
os.execv({python!r}, [{python!r}, *sys.argv[1:]])
"""


def refusing_python(folder: Path) -> str:
    """Make that interpreter; returns its path."""
    program = bpf.Assembler()
    program.load(0)
    program.refuse_calls([272 if syscalls.machine() == "x86_64" else 97])
    program.answer(0x7FFF0000)
    path = folder / "python"
    path.write_text(REFUSING.format(python=sys.executable, program=program.program().hex()))
    path.chmod(0o755)
    return str(path)


@pytest.fixture(scope="module", params=[2, 1], ids=["level2", "level1"])
def sandbox(
    request: pytest.FixtureRequest, canaries: Canaries, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Sandbox]:
    """A sandbox at each level, proven to be one by a harmless cell before anything hostile runs.

    At level 1 because unshare is refused: there the filter of the cell is the only wall between it and the network.
    """
    level = request.param
    if os.getuid() == 0:
        syscalls.unshare(syscalls.CLONE_NEWNS)
        syscalls.mount("none", "/", None, syscalls.MS_REC | syscalls.MS_SLAVE)
    python = sys.executable if level == 2 else refusing_python(tmp_path_factory.mktemp("refusing"))
    fast_fork = WorkerSettings.from_env().fast_fork  # CI runs the cases a second time with CODEEXEC_FAST_FORK=0
    with Sandbox(slots=2, required_isolation=level, python=python, fast_fork=fast_fork) as sandbox:
        assert fast_fork or sandbox.report["fast_fork"] is False
        assert sandbox.report["level"] == level
        refused = any("unshare: Operation not permitted" in why for why in sandbox.report["missing"])
        assert refused == (level == 1), sandbox.report["missing"]
        seen = run(sandbox, GATE if level == 2 else GATE_1)
        if "guarded" not in seen.stdout:
            pytest.exit(f"the sandbox does not guard: {seen}", returncode=3)
        yield sandbox


def launcher_pid(sandbox: Sandbox) -> int:
    """The launcher's process id."""
    assert sandbox.pid is not None
    return sandbox.pid


def wait_until(predicate: Callable[[], bool], timeout: float) -> bool:
    """Poll until it holds."""
    end = time.monotonic() + timeout
    while not predicate():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def expected(number: str, report: dict[str, Any]) -> Expect:
    """What the case must show where the sandbox is what the report says."""
    weaker = EXPECTED_1 if report["level"] < 2 else {}
    return weaker.get(number, EXPECTED[number])


def check_after(sandbox: Sandbox, canaries: Canaries, seen: Seen, limits: Limits) -> None:
    """What holds after every run, whatever the cell was."""
    assert sandbox.alive
    # namespace_server and zygote, and an init and a cell for each of three standbys
    settled = wait_until(lambda: len(processes.descendants(launcher_pid(sandbox))) <= 8, 1.0)
    assert settled, "processes of the run are left"
    assert canaries.intact()
    text = json.dumps([seen.events, seen.outcome.error.as_dict() if seen.outcome.error else None])
    assert CANARY_TEXT not in text
    assert len(text) < 8 * (limits.output_kb << 10) + (1 << 20)
    assert seen.seconds < limits.hard_s + 5


@pytest.mark.parametrize("path", sorted(CASES.glob("*.py")), ids=lambda path: path.stem)
def test_case(path: Path, sandbox: Sandbox, canaries: Canaries) -> None:
    """The case shows what a correct sandbox shows, and nothing of it is left."""
    expect = expected(path.name[:3], sandbox.report)
    printed = []
    for _ in range(2 if expect.twice else 1):
        seen = run(sandbox, path.read_text(), expect.limits)
        assert seen.outcome.reason in expect.reasons, (seen.outcome, seen.stdout[-2000:], seen.stderr[-2000:])
        assert expect.check(seen), (seen.outcome, seen.stdout[-2000:], seen.stderr[-2000:])
        assert expect is _INHERENT or "ESCAPED" not in seen.stdout
        check_after(sandbox, canaries, seen, expect.limits)
        printed.append(seen.stdout)
    if path.name.startswith("099"):
        first, second = (json.loads(text.replace("'", '"')) for text in printed)
        assert all(a != b for a, b in zip(first, second, strict=True))


#: each guard, switched off alone, lets at least this case through: the suite would notice its loss
WEAKENED = {
    "seccomp": "089",
    "landlock": "092",
    "netns": "900",
    "memory": "007",
    "fds": "072",
    "env": "095",
}


@pytest.mark.parametrize(("guard", "number"), WEAKENED.items())
def test_a_guard_switched_off_is_noticed(guard: str, number: str, canaries: Canaries) -> None:
    """With one guard off, all others on, the named case no longer shows what it must."""
    path = next(CASES.glob(f"{number}_*.py"))
    with Sandbox(slots=1, required_isolation=0, weakening=without(guard), probe=False, preload=()) as weak:
        seen = run(weak, path.read_text())
    assert "ESCAPED" in seen.stdout, (seen.outcome, seen.stdout, seen.stderr)


def test_every_case_is_expected() -> None:
    """No case file lacks an expectation, and no expectation its file."""
    assert {path.name[:3] for path in CASES.glob("*.py")} == set(EXPECTED)
    assert len(EXPECTED) == 140
