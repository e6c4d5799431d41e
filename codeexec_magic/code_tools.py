"""CodeTools: two functions on top of Client, for code that calls ``execute_code`` and ``get_task_result``."""

from __future__ import annotations

import threading
from typing import Any

from codeexec_magic import local_sandbox
from codeexec_magic.client import Client
from codeexec_magic.contract import DEFAULT_LIMITS, QUEUE_DEFAULT
from codeexec_magic.errors import JobTimeout
from codeexec_magic.limits import HARD_AFTER_SOFT_S

_lock = threading.Lock()
_client: Client | None = None


def _shared_client() -> Client:
    global _client
    with _lock:
        if _client is None:
            _client = Client()
        return _client


class CodeTools:
    """Run code and get a dictionary back."""

    @staticmethod
    def execute_code(
        code: str, timeout: float | None = None, async_mode: bool = True, wait_for_result: bool = True
    ) -> dict[str, Any]:
        """Run ``code`` in a sandbox.

        Args:
            code: the source.
            timeout: soft wall limit in seconds; default 90.
            async_mode: True submits to the workers; False runs in a sandbox on this machine, with the same limits and
                without any broker.
            wait_for_result: False returns at once, for ``get_task_result``.

        Returns:
            The execution result; without waiting, ``task_id``, ``status`` and ``message``, and ``success`` None.

        Raises:
            BadRequest, ClusterError: as :meth:`codeexec_magic.client.Client.submit`.
            IsolationUnavailable: this machine cannot give the required isolation (``async_mode=False``).
        """
        if not async_mode:
            return _run_here(code, timeout)
        job = _shared_client().submit(code, timeout=timeout)
        if wait_for_result:
            return job.result().as_dict()
        return {
            "success": None,
            "task_id": job.id,
            "status": "submitted",
            "message": f"submitted to {job.queue}; CodeTools.get_task_result({job.id!r}) waits for the result",
        }

    @staticmethod
    def get_task_result(task_id: str, timeout: float = 30) -> dict[str, Any]:
        """The result of a submitted task, waiting up to ``timeout`` seconds.

        Returns:
            The execution result; if it has not ended by then, ``task_id``, ``status`` and ``message``.

        Raises:
            JobNotFound: no such task, or it has expired.
        """
        job = _shared_client().job(task_id)
        try:
            return job.result(timeout).as_dict()
        except JobTimeout as err:
            return {"success": None, "task_id": job.id, "status": str(job.status), "message": str(err)}


def _run_here(code: str, timeout: float | None) -> dict[str, Any]:
    """One cell in a fresh sandbox on this machine, without broker or worker."""
    _shared_client().check_code(code)
    limits = DEFAULT_LIMITS[QUEUE_DEFAULT]
    soft = limits.soft_s if timeout is None else timeout
    hard = limits.hard_s if timeout is None else timeout + HARD_AFTER_SOFT_S
    return local_sandbox.run(code, soft, hard).as_dict()
