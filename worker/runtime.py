"""What one worker process owns: the sandbox, the store, the leases and the threads that look after them."""

from __future__ import annotations

import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import codeexec_magic
from codeexec_magic.contract import ExecutionResult, Status
from codeexec_magic.errors import ClusterError, CodeExecError
from codeexec_magic.settings import WorkerSettings
from codeexec_magic.store import JobStore
from codeexec_magic.store.celery_results import CeleryResults
from codeexec_magic.store.keys import PACKAGES
from codeexec_magic.store.packages import announce
from codeexec_magic.store.room import Room
from codeexec_magic.supervisor import LINEAGE, LINEAGE_START
from codeexec_magic.values.store import ValueStore
from worker.alerts import TIMEOUT_S, alert
from worker.broker_retry import patiently
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
#: how long a worker may take to tell of a dead letter until another one does (seconds)
ALERT_HOLD_S = 2 * TIMEOUT_S

#: started by ``python -m worker`` while Celery was imported, for the same settings
early_sandbox: Sandbox | None = None


class Runtime:
    """JobDetail in the main process of a worker, before it consumes.

    Args:
        settings: the worker's settings.
        broker_url: where the job records are.
        result_backend: where Celery's results are.
    """

    sandbox: Sandbox

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
        self.footprint = MemoryUsage()
        self.name = ""
        #: shared by the workers that one supervisor starts, one after the other
        self.lineage = os.environ.get(LINEAGE) or uuid.uuid4().hex[:16]
        self.attempt_prefix = f"{self.lineage}.{os.environ.get(LINEAGE_START, '0')}."
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

    def serve(self, queues: tuple[str, ...]) -> None:
        """The worker consumes: say so, and look after its attempts."""
        self.queues = queues or self.settings.queues
        self._beat()
        reconciler = Reconciler(self.store, self.name, self.announce, self.tell, self.results.missing)
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
            "version": codeexec_magic.__version__,
            "isolation": report.get("level"),
            "required_isolation": self.settings.required_isolation,
            "environment": self.sandbox.environment,
            **self.footprint.fields(),
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

    def announce(self, result: ExecutionResult, followers: list[str], letter: Mapping[str, Any] | None) -> None:
        """Tell Celery's result backend, and the log and the alert hook of a dead letter."""
        try:
            if letter is not None and result.status is Status.DEAD_LETTERED:
                self.tell(letter)
            self.results.record_soon(result)  # the slot is free for the next cell meanwhile
            events = self.store.events(result.task_id) if followers else []
            for one in followers:
                self.results.record_soon(self.store.snapshot(one).result(events))
        except CodeExecError as err:
            # the record has the outcome; the reconciler writes the entry later
            log.warning("no Celery result for job %s yet: %s", result.task_id, err)

    def tell(self, letter: Mapping[str, Any]) -> None:
        """Log a new dead letter and call the alert hook, unless somebody does.

        Once for each; a worker that dies in the middle of it may have told already, and a reconciler tells again:
        rather twice than never.

        Raises:
            ClusterError: the broker is away; a reconciler tells later.
        """
        task_id = str(letter.get("task_id"))
        if self.store.claim_alert(task_id, ALERT_HOLD_S):
            self.log.dead_letter(letter)
            alert(self.settings.alert, letter, lambda: self._alerted(task_id))

    def _alerted(self, task_id: str) -> None:
        try:
            patiently(lambda: self.store.alerted(task_id), ALERT_HOLD_S)
        except ClusterError as err:
            log.warning("the alert of job %s may come again: %s", task_id, err)

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
