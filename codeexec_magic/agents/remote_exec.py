"""Runs code for agents: every interface for agents calls ``remote_exec`` or ``submit``."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import Any, Literal, overload

from codeexec_magic.agents.dry_run import DryRun, dry_run_of
from codeexec_magic.client import Client
from codeexec_magic.contract import QUEUE_DEFAULT, ExecutionResult
from codeexec_magic.errors import BadOption
from codeexec_magic.job import Job
from codeexec_magic.quantities import megabytes

_lock = threading.Lock()
_client: Client | None = None


def shared_client() -> Client:
    """The client of calls that name none: made at the first of them, for the cluster of the environment."""
    global _client
    with _lock:
        if _client is None:
            _client = Client()
        return _client


@overload
def remote_exec(
    code: str,
    *,
    inputs: Mapping[str, Any] | None = None,
    outputs: Iterable[str] = (),
    timeout: float | None = None,
    memory: str | int | None = None,
    queue: str = QUEUE_DEFAULT,
    cache: bool | str = False,
    client: Client | None = None,
    dry_run: Literal[False] = False,
) -> ExecutionResult: ...


@overload
def remote_exec(
    code: str,
    *,
    inputs: Mapping[str, Any] | None = None,
    outputs: Iterable[str] = (),
    timeout: float | None = None,
    memory: str | int | None = None,
    queue: str = QUEUE_DEFAULT,
    cache: bool | str = False,
    client: Client | None = None,
    dry_run: Literal[True],
) -> DryRun: ...


def remote_exec(
    code: str,
    *,
    inputs: Mapping[str, Any] | None = None,
    outputs: Iterable[str] = (),
    timeout: float | None = None,
    memory: str | int | None = None,
    queue: str = QUEUE_DEFAULT,
    cache: bool | str = False,
    client: Client | None = None,
    dry_run: bool = False,
) -> ExecutionResult | DryRun:
    """Run code that a model wrote in a fresh sandbox, and return what came of it, whatever that is.

    A failure is a result, not an exception: ``result.success``, ``result.reason``, ``result.verdict`` and
    ``result.error.text`` say what happened. Nothing is retried.

    Args:
        code: the cell.
        inputs: JSON values bound as variables in the cell.
        outputs: names whose JSON values come back in ``result.values``.
        timeout: seconds after which the cell is told to end; it is killed 30 s later. Default 90.
        memory: limit for its whole process tree, like ``"512MB"``; a number is in MB. Default 1024.
        queue: where to run it.
        cache: True takes and stores cached results; by default every call runs.
        client: runs the code; by default one client, shared by all calls, for the cluster that the environment names.
        dry_run: only look at the code: whether it parses, which names it needs, which imports the workers lack.

    Raises:
        BadRequest: the code or an option cannot be accepted; a CodeSyntaxError has the line.
        QueueFull: the queue has reached its configured length.
        ClusterError: the broker cannot be reached.
    """
    client = client or shared_client()
    if dry_run:
        return dry_run_of(client, code, inputs or {}, queue)
    job = submit(client, code, inputs, outputs, timeout=timeout, memory=memory, queue=queue, cache=cache)
    try:
        return job.result()
    except BaseException:
        job.cancel()  # whoever asked has left, by Ctrl-C say
        raise


def submit(
    client: Client,
    code: str,
    inputs: Mapping[str, Any] | None = None,
    outputs: Iterable[str] = (),
    *,
    timeout: float | None = None,
    memory: str | int | None = None,
    queue: str = QUEUE_DEFAULT,
    cache: bool | str = False,
) -> Job:
    """Submit code as :func:`remote_exec` does, without waiting; the arguments are the same.

    Raises:
        BadRequest, QueueFull, ClusterError: as :func:`remote_exec`.
    """
    return client.submit(
        code,
        queue=queue,
        timeout=timeout,
        memory_mb=_megabytes(memory),
        retries=0,
        cache=cache,
        inputs=inputs,
        outputs=outputs,
    )


def _megabytes(memory: str | int | None) -> int | None:
    if not isinstance(memory, str):
        return memory
    try:
        return megabytes(memory)
    except ValueError as err:
        raise BadOption(f"memory: {err}") from None
