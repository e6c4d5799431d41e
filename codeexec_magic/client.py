"""The client: submit cells, find jobs again, look after dead letters.

The kernel side talks to the job store only: one script records a job and hands Celery its message, so neither Celery
nor anything of the worker is imported here.
"""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

from codeexec_magic.connection import Connection
from codeexec_magic.contract import QUEUE_DEFAULT, QUEUES, ExecutionRequest, ExecutionResult, Status, decode_request
from codeexec_magic.errors import BrokerFull, BrokerUnreachable, MissingModule, QueueFull, UnknownQueue
from codeexec_magic.imports import needed_modules
from codeexec_magic.job import Job
from codeexec_magic.limits import check_ceiling
from codeexec_magic.request import asked_limits, build_request, check_code, check_inputs
from codeexec_magic.settings import Settings
from codeexec_magic.store import JobState
from codeexec_magic.store.dead_letters import DeadLetter, dead_letter, dead_letters
from codeexec_magic.store.packages import Packages, packages
from codeexec_magic.store.queries import QueueInfo, WorkerInfo, ceiling, find, jobs, known_queues, queues, workers
from codeexec_magic.store.room import Room
from codeexec_magic.values.files import check_patterns, find_files, send_files
from codeexec_magic.values.send import send

#: how long what workers said of their packages is relied on (seconds)
_MODULES_S = 15.0

T = TypeVar("T")


class Client(Connection):
    """Submits cells to a cluster, and looks after its jobs and dead letters.

    The cluster is the one named, else the one in the environment, else the embedded one.

    Args:
        broker_url: ``redis://``, ``rediss://`` or ``redis+socket://`` URL. Default: ``CELERY_BROKER_URL``; without it
            the embedded cluster is started at the first submission.
        result_backend: URL of Celery's results. Default: ``CELERY_RESULT_BACKEND``, else the broker's database 1.
        settings: instead of the environment.
        progress: called with one line of text while the embedded cluster starts.

    Raises:
        BadSetting: a URL or variable makes no sense.
    """

    def __init__(
        self,
        broker_url: str | None = None,
        result_backend: str | None = None,
        *,
        settings: Settings | None = None,
        progress: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__(broker_url, result_backend, settings=settings, progress=progress)
        self._known_modules: dict[str, tuple[float, frozenset[str] | None]] = {}

    def submit(
        self,
        code: str,
        *,
        queue: str = QUEUE_DEFAULT,
        timeout: float | None = None,
        hard_timeout: float | None = None,
        memory_mb: int | None = None,
        limits: Mapping[str, float] | None = None,
        retries: int | None = None,
        retry_waits: Iterable[float] | None = None,
        cache: bool | str = True,
        network: bool = False,
        inputs: Mapping[str, Any] | None = None,
        outputs: Iterable[str] = (),
        uploads: Iterable[str | PathLike[str]] = (),
        downloads: Iterable[str] = (),
        label: str = "",
    ) -> Job:
        """Queue one cell.

        Args:
            code: the cell; IPython syntax and top-level await are fine.
            queue: ``code_execution``, ``code_execution_heavy`` or one that workers announced.
            timeout: seconds of wall time after which SoftTimeLimitExceeded is raised in the cell. Default 90, on the
                heavy queue 240.
            hard_timeout: seconds after which the cell is killed. Default: ``timeout`` + 30.
            memory_mb: limit for the cell's whole process tree. Default 1024.
            limits: any other field of :class:`~codeexec_magic.limits.Limits`.
            retries: runs after a first one that ended by timeout, cpu, memory or internal. Default: the setting, 3.
            retry_waits: seconds before each retry, +-20 %. Default: the setting, 5, 25, 125.
            cache: True or ``use``; ``refresh`` runs and stores; False or ``off`` does neither.
            network: ask for network access; workers grant it only if configured so.
            inputs: variables of the cell, by name: any value that can be pickled, or a RemoteValue of an earlier job.
            outputs: names of variables whose values come back in ``result.values``; what no safe format carries comes
                as a :class:`~codeexec_magic.values.remote.RemoteValue`.
            uploads: files and folders that are copied to the cell's work folder.
            downloads: patterns such as ``figures/*.png`` of files that come back; see ``Job.files``.
            label: what monitors show instead of the code.

        Raises:
            BadRequest: the input cannot be accepted (a subclass says what).
            QueueFull: the queue has reached its configured length.
            ClusterError: the broker cannot be reached, or the embedded cluster did not start.
        """
        self.check_code(code)
        asked = asked_limits(queue, timeout, hard_timeout, memory_mb, limits)
        retries = self.settings.retries if retries is None else retries
        retry_waits = self.settings.retry_waits_s if retry_waits is None else retry_waits
        given, files = check_inputs(inputs), find_files(uploads)
        # what can be refused is refused before anything is sent
        request = build_request(
            code, queue, asked, retries, retry_waits, cache, network, {}, outputs, (), check_patterns(downloads), label
        )
        try:
            self._check_queue(queue, asked)
            self._check_modules(code, queue, files)
            return self._submit(request, given, files)
        except BrokerUnreachable:
            if not self.embedded:
                raise
            # the embedded cluster stops itself when idle, and may have been killed: start it again
            self.close()
            return self._submit(request, given, files)

    def run(self, code: str, **options: Any) -> ExecutionResult:
        """Run one cell and return its result.

        Args:
            code: the cell.
            options: those of :meth:`submit`.

        Raises:
            RemoteError: the cell raised; shows the remote traceback.
            JobFailed: a limit or a crash ended it.
            BadRequest, QueueFull, ClusterError: as :meth:`submit`.
        """
        return self.submit(code, **options).raise_for_status()

    def _submit(self, request: ExecutionRequest, inputs: Mapping[str, Any], files: Mapping[str, Path]) -> Job:
        """Send values and files, then the request."""
        if inputs or files:
            refs = self._with_room(lambda: send(inputs, lambda: self.values))
            uploads = self._with_room(lambda: send_files(files, lambda: self.values))
            request = replace(request, inputs=refs, uploads=uploads)
        submission = self._with_room(lambda: self.store.submit(request))
        if submission.result is not None and self._lost(submission.result):
            # the cached result names values that have expired before it
            again = replace(request, task_id=str(uuid.uuid4()), cache="refresh")
            request, submission = again, self._with_room(lambda: self.store.submit(again))
        if submission.outcome == "full":
            raise QueueFull(
                f"queue {request.queue} is full: {submission.depth} jobs wait, {self.settings.max_queue} are allowed; "
                "try later, or start more workers"
            )
        if submission.result is not None:
            self.results.record_soon(submission.result)
        return Job(self, request.task_id, request.queue, submission)

    def _with_room(self, call: Callable[[], T]) -> T:
        """Return what ``call`` returns; if the server's memory is full, finished jobs lose their output first.

        Raises:
            BrokerFull: there is no output left to remove, or it was not enough.
        """
        try:
            return call()
        except BrokerFull:
            if not Room(self.store, self.results).make():
                raise
            return call()

    def _lost(self, result: ExecutionResult) -> bool:
        """Whether values or files of a cached result are gone; those that are there stay for their full time."""
        refs = [*result.values.values(), *(file.ref for file in result.files)]
        return bool(refs) and bool(self.values.touch(refs))

    def check_code(self, code: str) -> None:
        """Refuse code that cannot be run: empty, too large, or not parsing.

        Raises:
            BadRequest: a subclass says what.
        """
        check_code(code, self.settings.code_kb)

    def _check_queue(self, queue: str, asked: Mapping[str, float]) -> None:
        if queue not in QUEUES:
            known = known_queues(self.store)
            if queue not in known:
                near = get_close_matches(queue, known, 1)
                hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
                raise UnknownQueue(f"unknown queue {queue!r}: {hint}")
        if asked and (top := ceiling(self.store, queue)) is not None:
            check_ceiling(asked, top, f"the queue {queue}")

    def packages(self, queue: str = QUEUE_DEFAULT) -> Packages | None:
        """Python version and packages that the cells of a queue have; None while no worker has said so."""
        return packages(self.store, queue)

    def _check_modules(self, code: str, queue: str, files: Mapping[str, Path]) -> None:
        """Refuse a cell that cannot but fail: it imports what the workers of its queue do not have.

        Raises:
            MissingModule: names the module, and a queue that has it.
        """
        own = {name.partition("/")[0].removesuffix(".py") for name in files}
        needed = [name for name in needed_modules(code) if name not in sys.stdlib_module_names and name not in own]
        if not needed or (here := self._modules(queue)) is None:
            return
        for name in needed:
            if name not in here:
                others = [one for one in known_queues(self.store) if name in (self._modules(one) or ())]
                hint = f"queue {others[0]} has it: --queue {others[0]}" if others else "%remote_packages lists what is"
                raise MissingModule(f"no module {name} is installed for the cells of queue {queue}; {hint}")

    def _modules(self, queue: str) -> frozenset[str] | None:
        """The modules of a queue, looked up again after a while."""
        known = self._known_modules.get(queue)
        if known is None or time.monotonic() - known[0] > _MODULES_S:
            about = self.packages(queue)
            known = self._known_modules[queue] = (time.monotonic(), about.modules if about else None)
        return known[1]

    def job(self, task_id: str) -> Job:
        """The job with this id, or the only one whose id starts so.

        Raises:
            JobNotFound: none, or several.
        """
        full = find(self.store, task_id)
        snapshot = self.store.snapshot(full)
        return Job(self, full, snapshot.record.get("queue", ""))

    def jobs(self, limit: int = 50) -> list[JobState]:
        """The latest jobs, newest first."""
        return jobs(self.store, limit)

    def queues(self) -> list[QueueInfo]:
        """All queues with depth, oldest wait and listeners."""
        return queues(self.store)

    def workers(self) -> list[WorkerInfo]:
        """Workers heard of within a day."""
        return workers(self.store)

    def dead_letters(self, limit: int = 100) -> list[DeadLetter]:
        """Jobs that gave up for good, newest first."""
        return dead_letters(self.store, limit)

    def dead_letter(self, task_id: str) -> DeadLetter:
        """One dead letter.

        Raises:
            JobNotFound: there is none for this job.
        """
        return dead_letter(self.store, find(self.store, task_id))

    def requeue(self, task_id: str, code: str | None = None) -> Job:
        """Run a job that gave up again under its id, with its own or with edited code. A double click runs it once.

        Raises:
            JobNotFound: no such job.
            BadRequest: the edited code cannot be accepted.
            DecodeError: its request cannot be read.
        """
        full = find(self.store, task_id)
        request = None
        snapshot = self.store.snapshot(full)
        if code is not None:
            self.check_code(code)
            request = replace(decode_request(snapshot.record.get("request", ""), full), code=code)
        self._with_room(lambda: self.store.requeue(full, snapshot.record.get("generation", ""), request))
        return Job(self, full, snapshot.record.get("queue", ""))

    def drop(self, task_id: str) -> bool:
        """Forget one dead letter; whether it was there."""
        return bool(self.store.drop(find(self.store, task_id)))

    def purge_dead_letters(self) -> int:
        """Forget all dead letters; how many."""
        return self.store.drop()

    def cancel(self, task_id: str) -> Status:
        """Cancel a job; its status after the call."""
        return self.job(task_id).cancel()
