"""Sandboxes on this machine without broker or worker: one process that is kept, so that only the first call waits."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from typing import Final

from codeexec_magic.contract import ExecutionResult
from codeexec_magic.errors import IsolationUnavailable, SandboxBroken

_NO_ISOLATION: Final = 3
#: seconds a process whose input ended may take to remove its sandbox before it is killed
_CLOSE_S: Final = 10.0


class LocalSandbox:
    """One ``python -m worker.sandbox --requests`` process; it ends when this process does."""

    def __init__(self) -> None:
        self.made_by = _owner()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 -- open as long as the process
        # -P: the caller's folder must not shadow our packages with a worker.py of its own
        command = [sys.executable, "-P", "-m", "worker.sandbox", "--requests"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True, encoding="utf-8"
        )

    def run(self, code: str, soft_s: float, hard_s: float) -> ExecutionResult:
        """Run one cell.

        Args:
            code: the cell.
            soft_s: soft wall limit in seconds.
            hard_s: hard wall limit in seconds.

        Raises:
            IsolationUnavailable: this machine cannot give the required isolation.
            SandboxBroken: the process ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        limits = {"soft_s": soft_s, "hard_s": hard_s}
        with contextlib.suppress(BrokenPipeError):  # why it ended is in its status
            self._process.stdin.write(json.dumps({"code": code, "limits": limits}) + "\n")
            self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if answer:
            return ExecutionResult.from_dict(json.loads(answer))
        status = self._process.wait()
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").strip()
        if status == _NO_ISOLATION:
            raise IsolationUnavailable(said or None)
        raise SandboxBroken(f"the local sandbox ended with {status}: {said[-500:]}")

    @property
    def usable(self) -> bool:
        """Whether it runs, and was made by this process under the settings that hold now."""
        return self.made_by == _owner() and self._process.poll() is None

    def close(self) -> None:
        """End the process; harmless when it has ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if self.made_by[0] == os.getpid():
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
            try:
                self._process.wait(_CLOSE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process.stdout.close()
        self._errors.close()

    def abandon(self) -> None:
        """End the process while a cell runs in it."""
        self._process.terminate()
        self.close()


_lock = threading.Lock()
_kept: LocalSandbox | None = None


def run(code: str, soft_s: float, hard_s: float) -> ExecutionResult:
    """Run one cell in the kept sandbox; while another thread uses it, in one made for this call.

    Args:
        code: the cell.
        soft_s: soft wall limit in seconds.
        hard_s: hard wall limit in seconds.

    Raises:
        IsolationUnavailable: this machine cannot give the required isolation.
        SandboxBroken: the sandbox's process ended.
    """
    sandbox = _take()
    try:
        result = sandbox.run(code, soft_s, hard_s)
    except BaseException:
        sandbox.abandon()
        raise
    _keep(sandbox)
    return result


def _take() -> LocalSandbox:
    global _kept
    with _lock:
        sandbox, _kept = _kept, None
    if sandbox is not None and not sandbox.usable:
        sandbox.close()
        sandbox = None
    return sandbox or LocalSandbox()


def _keep(sandbox: LocalSandbox) -> None:
    global _kept
    with _lock:
        extra, _kept = (sandbox, _kept) if _kept is not None else (None, sandbox)
    if extra is not None:
        extra.close()


@atexit.register
def close() -> None:
    """End the kept sandbox."""
    global _kept
    with _lock:
        sandbox, _kept = _kept, None
    if sandbox is not None:
        sandbox.close()


def _owner() -> tuple[int, tuple[tuple[str, str], ...]]:
    """What a sandbox must not outlive: the process that made it and the settings it was made under."""
    return os.getpid(), tuple(sorted(item for item in os.environ.items() if item[0].startswith("CODEEXEC_")))
