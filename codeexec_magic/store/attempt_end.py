"""How an attempt ended, as whoever closes it tells the store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from codeexec_magic.contract import RETRIED, ExecutionResult, Reason, Status


@dataclass(frozen=True)
class AttemptEnd:
    """The end of one attempt, and what follows from it."""

    action: str  #: ``end`` (with ``status`` and ``result``), ``retry`` (after ``delay_s``) or ``again`` (at once)
    reason: Reason  #: why the attempt ended
    status: Status = Status.FAILED  #: the job's terminal status, for ``end``
    result: ExecutionResult | None = None  #: the job's outcome, for ``end``; its output events travel in ``events``
    delay_s: float = 0.0  #: seconds until the next try, for ``retry``
    charge: str = "none"  #: the count that goes up: ``failures``, ``crashes`` or ``none``
    attempt_record: Mapping[str, Any] | None = None  #: the attempt for the job's timeline; None leaves no trace
    dead_letter: Mapping[str, Any] | None = None  #: the entry of the ``dead_letter`` list, if the job gave up
    environment: str = ""  #: fingerprint of the worker's environment, part of the cache key
    events: Iterable[Mapping[str, Any]] = ()  #: output that was not emitted yet
    first_event: int | None = None  #: number of the first of ``events`` within the attempt; None: all are new
    only_if_expired: bool = False  #: do nothing while the lease holds (for the reconciler)

    @property
    def shared_with(self) -> str:
        """The followers that this end answers for: ``all``, ``none``, or ``policy``.

        ``policy`` means followers with the leader's retry policy. A failure that another try may mend ends or delays
        the leader by the leader's own policy, so it says nothing about what other submitters were promised.
        """
        unreadable = self.status is Status.FAILED and self.reason is Reason.INTERNAL  # the leader's request alone
        if self.status is Status.CANCELLED or unreadable:
            return "none"
        return "policy" if self.reason in RETRIED else "all"
