"""The worker's side: starts the launcher, hands it cells, and brings a launcher that died back."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
import threading
from collections.abc import Sequence
from typing import Any, Final

from codeexec_magic.contract import DEFAULT_LIMITS, QUEUE_DEFAULT
from codeexec_magic.errors import IsolationUnavailable, LimitTooHigh, SandboxBroken
from codeexec_magic.limits import Limits, check_ceiling
from codeexec_magic.settings import DEFAULT_CEILING, WorkerSettings

from . import probe
from .launcher_client import AT_ONCE, Connection
from .linux import disk
from .outcome import Outcome
from .protocol import framing, messages
from .protocol.weakening import Weakening
from .run_handle import Cell, Run, wire_limits

_PRELOAD: Final = ("numpy", "pandas", "matplotlib.pyplot")
_ALL_GUARDS: Final = Weakening()


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
        allow_loopback: bool = False,
        free_disk_mb: int = 512,
        fast_fork: bool = True,
        level: int = 2,
        cgroup: bool = True,
        probe: bool = True,
        weakening: Weakening = _ALL_GUARDS,
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
            allow_loopback: whether such a cell may reach the host's loopback address; without it there is no network,
                because nothing walls that address off.
            free_disk_mb: free megabytes below which :meth:`short_of` says so.
            fast_fork: whether to use the fork tuning of ``fastfork/``.
            level: highest isolation level to try; a lower one shows what a weaker host gives.
            cgroup: whether to use control groups where there are any.
            probe: whether to try the guards at the start.
            weakening: guards that are left out; only tests can make one that is not empty.
        """
        self._config = messages.LauncherConfig(
            python=python or sys.executable,
            slots=slots,
            preload=tuple(preload),
            network=allow_network,
            limits=wire_limits(limits),
            level=level,
            cgroup=cgroup,
            fast_fork=fast_fork,
            weakening=weakening,
        )
        self._loopback = allow_loopback
        self._probe = probe
        self._required, self._ceiling, self._free_disk_mb = required_isolation, ceiling, free_disk_mb
        self._lock = threading.RLock()
        self._connection: Connection | None = None
        self._closed = False
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
            allow_loopback=settings.allow_loopback,
            free_disk_mb=settings.free_disk_mb,
            fast_fork=settings.fast_fork,
        )

    def __enter__(self) -> Sandbox:
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    @property
    def alive(self) -> bool:
        """Whether the launcher runs."""
        return self._connection is not None and self._connection.alive

    @property
    def pid(self) -> int | None:
        """The launcher's process id; everything the sandbox runs is below it."""
        return self._connection.pid if self._connection else None

    def spawn(self) -> None:
        """Start launcher and zygote without waiting for them: their imports go on while the caller does its own.

        Raises:
            SandboxBroken: there is no such interpreter.
        """
        with self._lock:
            if not self.alive:
                self._closed = False
                self._drop()
                self._connection = Connection(self._config)

    def start(self) -> None:
        """Start launcher and zygote if they do not run, and wait until they are ready.

        Raises:
            IsolationUnavailable: the host cannot give the required level.
            SandboxBroken: launcher or zygote did not start.
        """
        with self._lock:
            self.spawn()
            assert self._connection is not None
            if self._connection.greeting is None:
                self._greet(self._connection)

    def _greet(self, connection: Connection) -> None:
        try:
            greeting = connection.greet()
            self.report, self.environment = greeting.report, greeting.environment
            if self._probe:
                self._check()
        except SandboxBroken:
            self._drop()  # nothing may run in what was not tried
            raise
        level = self.report["level"]
        if level < self._required:
            self.close()
            why = "; ".join(self.report["missing"])
            raise IsolationUnavailable(f"isolation level {self._required} is required, this host gives {level}: {why}")

    def _check(self) -> None:
        """Try the guards; one that does not hold leaves no level at all."""

        def run(code: str, limits: Limits) -> tuple[list[dict[str, Any]], Outcome]:
            events: list[dict[str, Any]] = []
            cell = Cell("probe", code, limits)
            return events, Run(cell, self._connect(cell), "", self.report).wait(events.append)

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
        check_ceiling(cell.limits.as_dict(), self._ceiling, "this worker")
        if cell.network and not self._config.network:
            raise LimitTooHigh("this worker grants no network (CODEEXEC_ALLOW_NETWORK)")
        if cell.network and not self._loopback:
            raise LimitTooHigh("this worker grants no network: it would open the loopback (CODEEXEC_ALLOW_LOOPBACK)")
        failure = ""
        for _ in range(2):
            try:
                return Run(cell, self._connect(cell), "", self.report)
            except (OSError, SandboxBroken, IsolationUnavailable) as err:
                # the launcher may have died unnoticed: once more with a new one
                failure = str(err)
                if self._closed:
                    raise SandboxBroken("the sandbox is closed") from None
        return Run(cell, None, failure, self.report)

    def _connect(self, cell: Cell) -> socket.socket:
        request = framing.encode(cell.message())
        with self._lock:
            if self._closed:
                raise SandboxBroken("the sandbox is closed")
            if not self.alive:
                self.start()
            assert self._connection is not None
            try:
                sock = self._connection.open_run(request[:AT_ONCE], cell.fds)
            except OSError:
                self._drop()
                raise
        try:
            sock.sendall(memoryview(request)[AT_ONCE:])
        except OSError:
            sock.close()
            raise
        return sock

    def short_of(self) -> str | None:
        """What this machine is too short of to take a cell now, if anything."""
        folders = [tempfile.gettempdir()]
        if self.report.get("level", 2) < 2:
            folders.append(disk.scratch())  # the cells' folder need not be the worker's own
        for folder in dict.fromkeys(folders):
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
        if self._connection is not None:
            self._connection.close()
            self._connection = None
