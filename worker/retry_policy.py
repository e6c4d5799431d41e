"""What follows from the way an attempt ended."""

from __future__ import annotations

import random
from dataclasses import dataclass

from codeexec_magic.contract import RETRIED, ExecutionRequest, Reason, Status, retry_wait

#: waits are spread by this share up and down, so that jobs that failed together do not come back together
JITTER = 0.2


@dataclass(frozen=True)
class Decision:
    """``end`` with a status, or ``retry`` after a delay."""

    action: str
    status: Status
    delay_s: float = 0.0
    charge: str = "none"

    @property
    def dead(self) -> bool:
        """Whether the job becomes a dead letter."""
        return self.status is Status.DEAD_LETTERED


def decide(request: ExecutionRequest, reason: Reason, failures: int) -> Decision:
    """Retry what may go better after the request's waits; dead-letter it after the last retry.

    Args:
        request: how many retries and which waits.
        reason: how this attempt ended.
        failures: retried failures before it.
    """
    if reason is Reason.OK:
        return Decision("end", Status.SUCCEEDED)
    if reason is Reason.CANCELLED:
        return Decision("end", Status.CANCELLED)
    if reason not in RETRIED:
        return Decision("end", Status.FAILED)
    if failures >= request.retries:
        return Decision("end", Status.DEAD_LETTERED)
    spread = random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - not a secret
    return Decision("retry", Status.RETRYING, retry_wait(request, failures) * spread, "failures")
