"""What workers say of themselves in the store, and what they repair there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from codeexec_magic.store.connection import broker_errors
from codeexec_magic.store.keys import ALERTS, COUNTERS
from codeexec_magic.store.replies import Sweep
from codeexec_magic.store.scripts import Scripts, dumps, ms


class Maintenance(Scripts):
    """The part of the store that no single job is the subject of."""

    def take_turn(self, worker: str, hold_s: float) -> bool:
        """Whether it is this reconciler's turn; nobody else's begins for ``hold_s``."""
        return bool(self.call("turn", worker, ms(hold_s)))

    def sweep(self, queues: Iterable[str], grace_s: float, doubt: bool = False) -> Sweep:
        """The reconciler's pass.

        Args:
            queues: where jobs wait.
            grace_s: a queued job whose message is gone for so long has lost it.
            doubt: leases may have run out although their holders live: these get half a lease to renew.
        """
        lease, ttl = ms(self.settings.lease_s), ms(self.settings.result_ttl_s)
        answer = self.call("sweep", ms(grace_s), ttl, lease, int(doubt), *queues)
        due, lost, now, *expired = answer
        return Sweep(int(due), int(lost), int(now), tuple(str(one) for one in expired))

    def heartbeat(
        self,
        worker: str,
        queues: Iterable[str],
        environment: str,
        about: Mapping[str, Any],
        fields: Mapping[str, Any],
    ) -> None:
        """Say that a worker is alive, what it is (``fields``) and what its queues offer (``about``)."""
        flat = [str(part) for pair in fields.items() for part in pair]
        self.call("heartbeat", worker, environment, dumps(about), *flat, "--", *queues)

    def depart(self, worker: str, queues: Iterable[str]) -> None:
        """Take a worker off the lists at once."""
        self.call("depart", worker, *queues)

    def orphan(self, lineage: str) -> int:
        """End the leases of all attempts whose id begins with ``lineage``: their worker is dead. Returns how many."""
        return int(self.call("orphan", lineage))

    def claim_alert(self, task_id: str, hold_s: float) -> bool:
        """Whether the caller is the one to tell of this new dead letter; until :meth:`alerted`, for ``hold_s`` only."""
        return bool(self.call("claim", task_id, ms(hold_s)))

    def alerted(self, task_id: str) -> None:
        """Somebody was told of this dead letter, or there is nothing to tell any more."""
        with broker_errors(self.url):
            self.redis.zrem(self.key(ALERTS), task_id)

    def count(self, name: str) -> None:
        """Add one to a counter."""
        with broker_errors(self.url):
            self.redis.hincrby(self.key(COUNTERS), name, 1)
