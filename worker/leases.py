"""Renews the leases of running attempts and carries orders (cancel, fenced) to their sandboxes."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

import redis

from codeexec_magic.contract import Reason
from codeexec_magic.errors import ClusterError
from codeexec_magic.store import JobStore
from codeexec_magic.store.keys import CONTROL
from worker.publisher import Cancellable

log = logging.getLogger("codeexec")


#: a control channel that answers no ping for so long is given up (seconds)
SILENCE_S = 9.0


class Handle:
    """A run that may not have started yet; an order that comes before it does is kept for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._run: Cancellable | None = None
        self._order: Reason | None = None

    def attach(self, run: Cancellable) -> None:
        """The run has started."""
        with self._lock:
            self._run, order = run, self._order
        if order is not None:
            run.cancel(order)

    def cancel(self, reason: Reason = Reason.CANCELLED) -> None:
        """Kill the run, now or as soon as there is one."""
        with self._lock:
            self._order, run = reason, self._run
        if run is not None:
            run.cancel(reason)


class Leases:
    """The attempts this worker holds.

    Args:
        store: the job store.
    """

    def __init__(self, store: JobStore) -> None:
        self.store = store
        self._lock = threading.Lock()
        self._held: dict[str, tuple[str, Cancellable]] = {}  # attempt -> (task id, run)

    @contextlib.contextmanager
    def hold(self, task_id: str, attempt: str, run: Cancellable) -> Iterator[None]:
        """Keep the lease while the block runs."""
        with self._lock:
            self._held[attempt] = (task_id, run)
        try:
            yield
        finally:
            with self._lock:
                del self._held[attempt]

    @property
    def busy(self) -> int:
        """Attempts held now."""
        return len(self._held)

    def renew(self) -> None:
        """Renew all leases in one round trip and act on the answers.

        Raises:
            ClusterError: the broker is away; the leases hold for a while without it.
        """
        with self._lock:
            held = [(task_id, attempt, run) for attempt, (task_id, run) in self._held.items()]
        if not held:
            return
        answers = self.store.renew([(task_id, attempt) for task_id, attempt, _ in held])
        for (task_id, _, run), answer in zip(held, answers, strict=True):
            if answer != "ok":
                # cancelled; or superseded, or (harmless) recorded while we asked: the finish tells these apart
                log.debug("job %s: %s", task_id, answer)
                run.cancel(Reason.CANCELLED)

    def cancel(self, task_id: str, attempt: str) -> None:
        """The user's order, if the attempt is ours."""
        with self._lock:
            found = self._held.get(attempt)
        if found is not None and found[0] == task_id:
            found[1].cancel(Reason.CANCELLED)

    def hand_back(self) -> None:
        """Stop every attempt as if this worker had died: another one runs the job, and nothing is charged."""
        with self._lock:
            held = list(self._held.values())
        for _, run in held:
            run.cancel(Reason.WORKER_LOST)


class Listener(threading.Thread):
    """Hears cancel orders the moment they are given; the lease renewal catches those it misses.

    Args:
        store: the job store.
        leases: where the orders go.
    """

    def __init__(self, store: JobStore, leases: Leases) -> None:
        super().__init__(name="codeexec-control", daemon=True)
        self.store, self.leases = store, leases
        self._stop_asked = threading.Event()

    def run(self) -> None:
        """Listen until stopped, subscribing again after a broken connection."""
        while not self._stop_asked.is_set():
            pubsub = self.store.redis.pubsub(ignore_subscribe_messages=True)
            try:
                pubsub.subscribe(self.store.key(CONTROL))
                self._listen(pubsub)
            except (redis.RedisError, OSError, ValueError, ClusterError) as err:
                log.debug("control channel: %s", err)
                self._stop_asked.wait(0.5)
            finally:
                with contextlib.suppress(redis.RedisError, OSError):
                    pubsub.close()

    def _listen(self, pubsub: Any) -> None:
        # one that only listens never learns that its connection went half open: so it asks, and expects an answer
        heard = asked = time.monotonic()
        while not self._stop_asked.is_set():
            message, now = pubsub.get_message(timeout=1.0), time.monotonic()
            if message:
                heard = now
            if message and message["type"] == "message":
                order = json.loads(message["data"])
                self.leases.cancel(str(order.get("cancel")), str(order.get("attempt")))
            if now - heard > SILENCE_S:
                raise redis.ConnectionError(f"silent for {now - heard:.0f} s")
            if now - asked > SILENCE_S / 3:
                pubsub.ping()
                asked = now

    def stop(self) -> None:
        """End the thread soon."""
        self._stop_asked.set()
