"""A connection to a cluster: the job store and Celery's results, opened when they are first used."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Self

from codeexec_magic.broker_url import BrokerURL, redact
from codeexec_magic.settings import Settings
from codeexec_magic.store import JobStore
from codeexec_magic.store.celery_results import CeleryResults
from codeexec_magic.values.store import ValueStore


class Connection:
    """The connections to one cluster; the arguments are those of :class:`codeexec_magic.client.Client`."""

    def __init__(
        self,
        broker_url: str | None = None,
        result_backend: str | None = None,
        *,
        settings: Settings | None = None,
        progress: Callable[[str], None] | None = None,
    ) -> None:
        settings = settings or Settings.from_env()
        if broker_url is not None:
            settings = replace(settings, broker_url=BrokerURL.parse(broker_url).url, result_backend=None)
        if result_backend is not None:
            settings = replace(settings, result_backend=BrokerURL.parse(result_backend).url)
        self.settings = settings
        self._progress = progress
        self._lock = threading.Lock()
        self._store: JobStore | None = None
        self._results: CeleryResults | None = None
        self._values: ValueStore | None = None

    @property
    def embedded(self) -> bool:
        """Whether this connection uses the embedded cluster."""
        return self.settings.broker_url is None

    @property
    def store(self) -> JobStore:
        """The job store; the embedded cluster is started if need be.

        Raises:
            ClusterError: it did not start.
        """
        with self._lock:
            if self._store is None:
                broker, results = self.settings.broker_url, self.settings.result_backend
                if broker is None:
                    from codeexec_magic import local

                    cluster = local.ensure(self._progress)
                    broker, results = cluster.broker_url, cluster.result_backend
                self._store = JobStore(broker, self.settings)
                self._results = CeleryResults(results or BrokerURL.parse(broker).with_database(1).url, self.settings)
            return self._store

    @property
    def values(self) -> ValueStore:
        """Where values and files are kept."""
        store = self.store
        with self._lock:
            if self._values is None:
                self._values = ValueStore(store)
            return self._values

    @property
    def results(self) -> CeleryResults:
        """Where Celery's own results are kept."""
        _ = self.store
        assert self._results is not None
        return self._results

    def close(self) -> None:
        """Close the connections; the next use opens new ones."""
        with self._lock:
            opened = (self._store, self._results, self._values)
            self._store, self._results, self._values = None, None, None
        for one in opened:
            if one is not None:
                one.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        where = "embedded cluster" if self.embedded else redact(self.settings.broker_url or "")
        return f"<{type(self).__name__} {where}>"
