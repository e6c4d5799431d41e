"""The worker's side: starts the launcher, hands it cells, and brings a launcher that died back."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from codeexec_magic.contract import DEFAULT_LIMITS, QUEUE_DEFAULT, Limits, Reason
from codeexec_magic.errors import IsolationUnavailable, LimitTooHigh, SandboxBroken
from codeexec_magic.settings import DEFAULT_CEILING, WorkerSettings

from . import bootstrap, probe, wire
from .outcome import Outcome, broken, judge

_PRELOAD: Final = ("numpy", "pandas", "matplotlib.pyplot")
_START_S: Final = 150.0
_MESSAGE: Final = 1 << 16

OnEvent = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Cell:
    """One piece of code to run."""

    run_id: str
    code: str
    limits: Limits = field(default_factory=Limits)
    network: bool = False
    inputs: Mapping[str, Any] = field(default_factory=dict)
    outputs: Sequence[str] = ()


class Run:
    """A cell on its way; made by :meth:`Sandbox.run`."""

    def __init__(self, cell: Cell, sock: socket.socket | None, failure: str, report: Mapping[str, Any]) -> None:
        self.cell = cell
        self._sock, self._failure, self._report = sock, failure, report
        self._lock = threading.Lock()
        self._cancelled = False

    def wait(self, on_event: OnEvent = lambda _event: None) -> Outcome:
        """Follow the run to its end, in the calling thread.

        Args:
            on_event: called with each output event as it arrives.
        """
        sock = self._sock
        if sock is None:
            return broken(self._failure, self.cell.limits, self._report)
        decoder = wire.Decoder()
        try:
            while data := sock.recv(1 << 20):
                for message in decoder.feed(data):
                    if message["op"] == "event":
                        on_event(message["event"])
                    elif message["op"] == "outcome":
                        return judge(message, self.cell.limits)
        except OSError as err:
            return broken(f"the launcher's connection failed: {err}", self.cell.limits, self._report)
        finally:
            # also when on_event raises: the end of the connection ends the run
            with self._lock:
                sock.close()
                self._sock = None
                self._failure = "already waited for"
        why = "the launcher died"
        if self._cancelled:
            return judge({"kill": Reason.CANCELLED.value, "isolation": dict(self._report)}, self.cell.limits)
        return broken(why, self.cell.limits, self._report)

    def cancel(self, reason: Reason = Reason.CANCELLED) -> None:
        """Kill the run; what it printed so far is kept. May be called from any thread, more than once."""
        with self._lock:
            self._cancelled = True
            if self._sock is not None:
                with contextlib.suppress(OSError):
                    self._sock.sendall(wire.encode({"op": "cancel", "reason": Reason(reason).value}))


class Sandbox:
    """Runs cells, each in a fresh process tree, as many at a time as there are slots."""

    def __init__(
        self,
        slots: int = 1,
        python: str | None = None,
        preload: Sequence[str] = _PRELOAD,
        required_isolation: int = 1,
        ceiling: Limits = DEFAULT_CEILING,
        *,
        limits: Limits = DEFAULT_LIMITS[QUEUE_DEFAULT],
        allow_network: bool = False,
        free_disk_mb: int = 512,
        **options: Any,
    ) -> None:
        """Configure; :meth:`start` does the work.

        Args:
            slots: cells at a time.
            python: interpreter of the cells; the worker's own by default.
            preload: modules imported once, as far as they are installed.
            required_isolation: refuse to start below this level.
            ceiling: the most that a cell may ask for.
            limits: what cells usually get; standbys are made for these.
            allow_network: whether a cell may ask for the host's network.
            free_disk_mb: free space below which :meth:`short_of` says so.
            options: ``level`` (highest to try), ``cgroup``, ``guards_off``: for tests of weaker places;
                ``probe=False`` skips trying the guards at the start.
        """
        self._config: dict[str, Any] = {
            "python": python or sys.executable,
            "slots": slots,
            "preload": list(preload),
            "network": allow_network,
            "limits": limits.as_dict(),
            "level": options.pop("level", 2),
            "cgroup": options.pop("cgroup", True),
            "guards_off": list(options.pop("guards_off", ())),
        }
        self._probe = options.pop("probe", True)
        if options:
            raise TypeError(f"unknown options: {', '.join(options)}")
        self._required, self._ceiling, self._free_disk_mb = required_isolation, ceiling, free_disk_mb
        self._lock = threading.RLock()
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False
        self._greeted = False
        self._last_words = ""
        self.report: dict[str, Any] = {}  #: what isolation is really there, and what is missing
        self.environment = ""  #: fingerprint of interpreter and libraries of the cells

    @classmethod
    def from_settings(cls, settings: WorkerSettings, limits: Limits | None = None) -> Sandbox:
        """A sandbox as the worker's settings describe it."""
        return cls(
            slots=settings.slots,
            python=settings.python,
            preload=settings.preload,
            required_isolation=settings.required_isolation,
            ceiling=settings.ceiling,
            limits=limits or DEFAULT_LIMITS[QUEUE_DEFAULT],
            allow_network=settings.allow_network,
            free_disk_mb=settings.free_disk_mb,
        )

    def __enter__(self) -> Sandbox:
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    @property
    def alive(self) -> bool:
        """Whether the launcher runs."""
        return self._process is not None and self._process.poll() is None

    def spawn(self) -> None:
        """Start launcher and zygote without waiting for them: their imports go on while the caller does its own.

        Raises:
            SandboxBroken: there is no such interpreter.
        """
        with self._lock:
            if self.alive:
                return
            self._closed = False
            self._drop()
            python = shutil.which(self._config["python"])
            if python is None:
                raise SandboxBroken(f"the interpreter {self._config['python']!r} does not exist or cannot be executed")
            self._config["python"] = python
            near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            off = self._config["guards_off"]
            with far:
                far.set_inheritable(True)
                self._process = subprocess.Popen(
                    bootstrap.launcher_command(sys.executable, far.fileno(), self._config),
                    env=None if "env" in off else {},
                    pass_fds=() if "fds" in off else (far.fileno(),),
                    close_fds="fds" not in off,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                    cwd="/",
                )
            self._control, self._greeted = near, False

    def start(self) -> None:
        """Start launcher and zygote if they do not run, and wait until they are ready.

        Raises:
            IsolationUnavailable: the host cannot give the required level.
            SandboxBroken: launcher or zygote did not start.
        """
        with self._lock:
            self.spawn()
            if not self._greeted:
                assert self._control is not None
                self._greet(self._control)
                self._greeted = True

    def _greet(self, control: socket.socket) -> None:
        control.settimeout(_START_S)
        try:
            data = control.recv(_MESSAGE)
        except OSError as err:
            data = json.dumps({"op": "broken", "text": f"no answer: {err}"}).encode()
        message: dict[str, Any] = {"op": "broken", "text": "the launcher died at its start"}
        if data:
            message = json.loads(data)
        if message["op"] != "ready":
            self._drop()
            raise SandboxBroken(f"the sandbox did not start: {message['text'].strip()}")
        control.settimeout(None)
        self.report, self.environment = message["report"], message["environment"]
        if self._probe:
            self._check()
        level = self.report["level"]
        if level < self._required:
            self.close()
            why = "; ".join(self.report["missing"])
            raise IsolationUnavailable(f"isolation level {self._required} is required, this host gives {level}: {why}")

    def _check(self) -> None:
        """Try the guards; one that does not hold leaves no level at all."""

        def run(code: str, limits: Limits) -> tuple[list[dict[str, Any]], Outcome]:
            events: list[dict[str, Any]] = []
            connection = self._connect(self._request(Cell("probe", code, limits)))
            return events, Run(Cell("probe", code, limits), connection, "", self.report).wait(events.append)

        try:
            checks = probe.check(run)
        except OSError as err:
            raise SandboxBroken(f"the guards could not be tried: {err}") from err
        self.report["checks"] = checks
        if holes := probe.failed(checks):
            self.report["missing"] = [*self.report["missing"], *holes]
            self.report["level"] = 0

    def run(self, cell: Cell) -> Run:
        """Hand a cell over; does not wait.

        Raises:
            LimitTooHigh: the cell asks for more than this worker grants.
            SandboxBroken: the sandbox was closed.
        """
        if above := cell.limits.above(self._ceiling):
            named = ", ".join(f"{name} at most {getattr(self._ceiling, name):g}" for name in above)
            raise LimitTooHigh(f"this worker grants {named}")
        if cell.network and not self._config["network"]:
            raise LimitTooHigh("this worker grants no network (CODEEXEC_ALLOW_NETWORK)")
        request = self._request(cell)
        failure = ""
        for _ in range(2):
            try:
                return Run(cell, self._connect(request), "", self.report)
            except (OSError, SandboxBroken, IsolationUnavailable) as err:
                # the launcher may have died unnoticed: once more with a new one
                failure = str(err)
                if self._closed:
                    raise SandboxBroken("the sandbox is closed") from None
        return Run(cell, None, failure, self.report)

    @staticmethod
    def _request(cell: Cell) -> dict[str, Any]:
        return {
            "op": "run",
            "code": cell.code,
            "limits": cell.limits.as_dict(),
            "network": cell.network,
            "inputs": dict(cell.inputs),
            "outputs": list(cell.outputs),
        }

    def _connect(self, request: dict[str, Any]) -> socket.socket:
        with self._lock:
            if self._closed:
                raise SandboxBroken("the sandbox is closed")
            if not self.alive:
                self.start()
            assert self._control is not None
            near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
            with far:
                try:
                    socket.send_fds(self._control, [b'{"op":"run"}'], [far.fileno()])
                except OSError:
                    near.close()
                    self._drop()
                    raise
        try:
            near.sendall(wire.encode(request))
        except OSError:
            near.close()
            raise
        return near

    def short_of(self) -> str | None:
        """What this machine is too short of to take a cell now, if anything."""
        folder = tempfile.gettempdir()
        free = shutil.disk_usage(folder).free >> 20
        if free < self._free_disk_mb:
            return f"{free} MB are free in {folder}, {self._free_disk_mb} MB are required"
        stat = os.statvfs(folder)
        if stat.f_files and stat.f_favail < 1000:
            return f"{stat.f_favail} inodes are free in {folder}"
        return None

    def close(self) -> None:
        """End everything; nothing is left behind."""
        with self._lock:
            self._closed = True
            self._drop()

    def _drop(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            try:
                self._process.wait(timeout=8.0)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
