"""Makes an outcome known outside of the job record: to Celery's result backend, the log and the alert hook."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from codeexec_magic.contract import ExecutionResult, Status
from codeexec_magic.errors import ClusterError, CodeExecError
from codeexec_magic.store import JobStore
from codeexec_magic.store.celery_results import CeleryResults
from worker.alerts import TIMEOUT_S, alert
from worker.broker_retry import patiently
from worker.execution_log import ExecutionLog

log = logging.getLogger("codeexec")

#: how long a worker may take to tell of a dead letter until another one does (seconds)
ALERT_HOLD_S = 2 * TIMEOUT_S


class Announcer:
    """Announces outcomes that are recorded already.

    Args:
        store: the job store.
        results: Celery's results.
        execution_log: where dead letters are written.
        hook: command or URL that is called for a dead letter; None: nobody is.
    """

    def __init__(self, store: JobStore, results: CeleryResults, execution_log: ExecutionLog, hook: str | None) -> None:
        self._store, self._results, self._log, self._hook = store, results, execution_log, hook

    def announce(self, result: ExecutionResult, followers: list[str], letter: Mapping[str, Any] | None) -> None:
        """Tell Celery's result backend, and the log and the alert hook of a dead letter."""
        try:
            if letter is not None and result.status is Status.DEAD_LETTERED:
                self.tell(letter)
            self._results.record_soon(result)  # the slot is free for the next cell meanwhile
            events = self._store.events(result.task_id) if followers else []
            for one in followers:
                self._results.record_soon(self._store.snapshot(one).result(events))
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
        if self._store.claim_alert(task_id, ALERT_HOLD_S):
            self._log.dead_letter(letter)
            alert(self._hook, letter, lambda: self._alerted(task_id))

    def _alerted(self, task_id: str) -> None:
        try:
            patiently(lambda: self._store.alerted(task_id), ALERT_HOLD_S)
        except ClusterError as err:
            log.warning("the alert of job %s may come again: %s", task_id, err)
