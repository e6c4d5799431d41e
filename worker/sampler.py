"""Keeps a short history of the queues in Redis, so that a monitor has curves the moment it is opened."""

from __future__ import annotations

from codeexec_magic.store import JobStore
from codeexec_magic.store.queries import known_queues
from codeexec_magic.store.samples import KEPT, SAMPLE_S, sample

__all__ = ["KEPT", "SAMPLE_S", "Sampler"]


class Sampler:
    """Every worker runs one; within a period the first one writes for all.

    Args:
        store: the job store.
    """

    def __init__(self, store: JobStore) -> None:
        self.store = store

    def step(self) -> None:
        """Write a sample, if it is time.

        Raises:
            ClusterError: the broker is away.
        """
        sample(self.store, known_queues(self.store))
