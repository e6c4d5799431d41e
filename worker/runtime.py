"""What one worker process owns: the sandbox, the store, the leases and the threads that look after them."""

from __future__ import annotations

import logging
import os
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import replace

from codeexec_magic.errors import ClusterError
from codeexec_magic.settings import WorkerSettings
from codeexec_magic.store import JobStore
from codeexec_magic.store.celery_results import CeleryResults
from codeexec_magic.store.keys import PACKAGES
from codeexec_magic.store.packages import announce
from codeexec_magic.store.room import Room
from codeexec_magic.supervisor import LINEAGE, LINEAGE_START
from codeexec_magic.values.store import ValueStore
from codeexec_magic.version import __version__
from worker.announcer import Announcer
from worker.broker_retry import patiently
from worker.context import WorkerContext
from worker.execution_log import ExecutionLog
from worker.leases import Leases, Listener
from worker.memory_usage import MemoryUsage
from worker.packages import describe
from worker.publisher import Flusher
from worker.reconciler import Reconciler
from worker.sampler import SAMPLE_S, Sampler
from worker.sandbox import Sandbox

log = logging.getLogger("codeexec")

#: seconds between heartbeats; the scripts count a worker as listening for four of them
HEARTBEAT_S = 1.5
#: how often a lease is renewed within its length
RENEWALS = 4
#: seconds between passes of the reconciler
RECONCILE_S = 1.0
#: seconds between searches for files of values that have expired
VALUES_S = 60.0

#: started by ``python -m worker`` while Celery was imported, for the same settings
early_sandbox: Sandbox | None = None


class Runtime:
    """The parts of a worker, made in its main process before it consumes.

    Args:
        settings: the worker's settings.
        broker_url: where the job records are.
        result_backend: where Celery's results are.
    """

    sandbox: Sandbox
    #: for the attempts; set once the worker is open
    context: WorkerContext

    def __init__(self, settings: WorkerSettings, broker_url: str, result_backend: str) -> None:
        self.settings = settings
        self.store = JobStore(broker_url, settings)
        self.results = CeleryResults(result_backend, settings)
        self.values = ValueStore(self.store)
        # its connection is given up so early that there is time for another one before a lease runs out
        self.leases = Leases(JobStore(broker_url, settings, reply_timeout_s=settings.lease_s / RENEWALS))
        self.room = Room(self.store, self.results)
        self.flusher = Flusher(self.room)
        self.log = ExecutionLog(settings.log_code)
        self.announcer = Announcer(self.store, self.results, self.log, settings.alert)
        self.memory_usage = MemoryUsage()
        self.name = ""
        #: shared by the workers that one supervisor starts, one after the other
        self.lineage = os.environ.get(LINEAGE) or uuid.uuid4().hex[:16]
        self.slots = settings.slots
        self.queues: tuple[str, ...] = ()
        self._stop_asked = threading.Event()
        self._draining = False
        self._hurry = threading.Event()
        self._threads: list[threading.Thread] = []
        self._listener: Listener | None = None
        self._opened = False

    def open(self, name: str, slots: int) -> None:
        """Start the sandbox.

        Raises:
            IsolationUnavailable: this host cannot give the required level; nothing is consumed.
            SandboxBroken: it does not start.
        """
        self.name, self.slots = name, slots
        try:
            # by the supervisor's word the worker before this one is dead: its cells need not wait for their leases
            # (while the broker is away nothing can be consumed either)
            if patiently(lambda: self.store.orphan(f"{self.lineage}."), self.settings.lease_s):
                log.warning("the worker before this one died while it ran cells: they run again")
        except ClusterError as err:
            log.debug("orphan: %s", err)  # the leases run out by themselves
        self.sandbox = early_sandbox or Sandbox.from_settings(replace(self.settings, slots=slots))
        self._opened = True
        self.sandbox.start()
        self.context = WorkerContext(
            name=name,
            attempt_prefix=f"{self.lineage}.{os.environ.get(LINEAGE_START, '0')}.",
            ceiling=self.settings.ceiling,
            store=self.store,
            room=self.room,
            values=self.values,
            sandbox=self.sandbox,
            leases=self.leases,
            flusher=self.flusher,
            announcer=self.announcer,
            log=self.log,
            memory_usage=self.memory_usage,
            wait_for_room=self.wait_for_room,
        )

    def serve(self, queues: tuple[str, ...]) -> None:
        """The worker consumes: say so, and look after its attempts."""
        self.queues = queues or self.settings.queues
        self._beat()
        reconciler = Reconciler(
            self.store, self.name, self.announcer.announce, self.announcer.tell, self.results.missing
        )
        self._listener = Listener(self.store, self.leases)
        self._listener.start()
        self.flusher.start()
        for name, period, call in (
            ("codeexec-lease", self.settings.lease_s / RENEWALS, self.leases.renew),
            ("codeexec-heartbeat", HEARTBEAT_S, self._beat),
            ("codeexec-reconciler", RECONCILE_S, reconciler.step),
            ("codeexec-sampler", SAMPLE_S, Sampler(self.store).step),
            ("codeexec-values", VALUES_S, self.values.sweep),
        ):
            thread = threading.Thread(target=self._every, args=(period, call), name=name, daemon=True)
            thread.start()
            self._threads.append(thread)
        threading.Thread(target=self._announce_packages, name="codeexec-packages", daemon=True).start()

    def _announce_packages(self) -> None:
        """Say what cells can import, again and again, because the record of it expires."""
        about = describe(self.settings.python)
        while about is not None:
            try:
                announce(self.store, self.sandbox.environment, about)
            except ClusterError as err:
                log.debug("packages: %s", err)
                if self._stop_asked.wait(HEARTBEAT_S):
                    return
            else:
                if self._stop_asked.wait(PACKAGES.expiry_s / 4):
                    return

    def _every(self, period: float, call: Callable[[], object]) -> None:
        while not self._stop_asked.wait(period):
            try:
                call()
            except ClusterError as err:
                log.debug("%s: %s", threading.current_thread().name, err)
            except Exception:
                # these threads keep every cell of this worker alive: none may end
                log.exception("%s failed; trying again", threading.current_thread().name)

    def _beat(self) -> None:
        if self._draining:
            return
        report = self.sandbox.report
        about = {"ceiling": self.settings.ceiling.as_dict(), "isolation": report.get("level")}
        fields = {
            "queues": ",".join(self.queues),
            "slots": self.slots,
            "busy": self.leases.busy,
            "pid": os.getpid(),
            "version": __version__,
            "isolation": report.get("level"),
            "required_isolation": self.settings.required_isolation,
            "environment": self.sandbox.environment,
            **self.memory_usage.fields(),
            "supervisor_token": os.environ.get("CODEEXEC_SUPERVISOR_TOKEN", ""),
        }
        self.store.heartbeat(self.name, self.queues, self.sandbox.environment, about, fields)

    def wait_for_room(self) -> None:
        """Return when this machine has the free space a cell may need; a full disk would take the machine with it."""
        why = self.sandbox.short_of()
        if why:
            log.error("taking no cell: %s", why)
        while why and not self._stop_asked.wait(1.0):
            why = self.sandbox.short_of()

    def reject(self, queue: str, why: str) -> None:
        """A message was turned away: count it and say so."""
        log.error("rejected a message on queue %.100s: %s", queue, why)
        try:
            self.store.count("messages_rejected")
        except ClusterError as err:
            log.warning("the rejected message is not counted: %s", err)

    def drain(self, now: bool = False) -> None:
        """A shutdown began: take no more cells, and after the grace time hand the running ones back.

        Args:
            now: it is a cold one, without any grace.
        """
        if now:
            self._hurry.set()
        if self._draining:
            return
        self._draining = True
        threading.Thread(target=self._drain, name="codeexec-drain", daemon=True).start()

    def _drain(self) -> None:
        try:
            self.store.depart(self.name, self.queues)
        except ClusterError as err:
            log.debug("depart: %s", err)
        deadline = time.monotonic() + self.settings.grace_s
        while self.leases.busy and time.monotonic() < deadline and not self._hurry.wait(0.1):
            pass
        # again and again: a message that was on its way when the shutdown began may begin only now
        while not self._stop_asked.is_set():
            self.leases.hand_back()
            self._stop_asked.wait(0.1)

    def close(self) -> None:
        """The worker ends: leave nothing behind."""
        self._stop_asked.set()
        if self._listener is not None:
            self._listener.stop()
        self.flusher.stop()
        for thread in self._threads:
            thread.join(2.0)
        self.results.close()
        self.values.close()
        if self._opened:  # a worker that cannot reach its broker ends before that
            self.sandbox.close()
