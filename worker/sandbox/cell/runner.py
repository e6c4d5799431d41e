"""Runs one cell in a real IPython shell and says how it ended."""

from __future__ import annotations

import atexit
import contextlib
import os
import random
import signal
import struct
import sys
import threading
from collections.abc import Mapping
from typing import Any, NoReturn

from ..protocol.messages import CellCode
from . import asyncio_tasks, soft_limit, values
from .exception_report import describe


def reseed() -> None:
    """Give the generators of random numbers, which every cell inherits, a state of their own."""
    random.seed()
    if (numpy_random := sys.modules.get("numpy.random")) is not None:
        # given the numbers it does not load, and copy, what it needs to find some itself
        numpy_random.seed(struct.unpack("4I", os.urandom(16)))
    if (torch := sys.modules.get("torch")) is not None:
        torch.seed()
    if (polars := sys.modules.get("polars")) is not None:
        polars.set_random_seed(struct.unpack("Q", os.urandom(8))[0])
    renew_keys()


def renew_keys() -> None:
    """Make anew, or forget, what libraries made up when the zygote imported them."""
    loaded: dict[str, Any] = sys.modules
    if (process := loaded.get("multiprocessing.process")) is not None:
        process.current_process().authkey = os.urandom(32)
    if (ssl := loaded.get("_ssl")) is not None:
        # it takes a fork for one by the process id, which in namespaces is the same for all
        ssl.RAND_add(os.urandom(32), 32.0)
    if (tempfile := loaded.get("tempfile")) is not None:
        tempfile.tempdir = tempfile._name_sequence = None
    if (uuid := loaded.get("uuid")) is not None:
        uuid._node = uuid._last_timestamp = None


def run(shell: Any, request: CellCode, fds: Mapping[str, int]) -> tuple[dict[str, Any], int]:
    """Run the cell.

    Args:
        shell: a shell in which nothing ran yet.
        request: the code, and what is to come back.
        fds: descriptors: ``inputs``, and ``returns`` for what comes back, if there are any.

    Returns:
        the end report and the exit code of the process
    """
    home = os.getcwd()  # noqa: PTH109 - for chdir alone
    try:
        soft_limit.arm()
        files = values.receive(fds["inputs"], shell.user_ns) if "inputs" in fds else set()
        report, code = _run(shell, request)
        with contextlib.suppress(OSError):  # the worker takes no more, or the folder is gone: the outcome stands
            os.chdir(home)
            if "returns" in fds:
                _return(shell, request, values.Returns(fds["returns"]), succeeded=report["status"] == "ok")
            report["left"] = values.left_behind(files, request.downloads)
        _hold_signals()
        return report, code
    except values.InputError as err:
        _hold_signals()
        return {"status": "error", "error": describe(type(err), err, [f"InputError: {err}"])}, 1
    except BaseException as err:  # the limit struck between the cell's end and ours; it does so but once
        _hold_signals()
        return {"status": "error", "error": describe(type(err), err, [])}, 1


def _return(shell: Any, request: CellCode, returns: values.Returns, *, succeeded: bool) -> None:
    """Send what was asked for: files always, variables if the cell succeeded."""
    try:
        if succeeded:
            returns.values(shell.user_ns, request.outputs)
        returns.files(request.downloads)
    finally:
        returns.close()


def _hold_signals() -> None:
    """Let nothing raise while the report is written."""
    soft_limit.disarm()
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _run(shell: Any, request: CellCode) -> tuple[dict[str, Any], int]:
    try:
        result = shell.run_cell(request.code, store_history=True)
        problem = result.error_before_exec or result.error_in_exec
        shown = shell.failure if problem is None else None
        if shown and "SoftTimeLimitExceeded" not in shown["kinds"]:
            # a display that failed is shown and does not fail the cell, as in a notebook
            print("\n".join(shown["traceback"]), file=sys.stderr)
        elif shown:
            return {"status": "error", "error": shown}, 1
        if problem is None:
            return {"status": "ok"}, 0
    except BaseException as err:  # the limit may strike while IPython itself tidies up
        problem = err
    if isinstance(problem, SystemExit):
        code = _exit_code(problem)
        return {"status": "exit" if code else "ok", "code": code}, code
    failure = shell.failure or describe(type(problem), problem, [])
    return {"status": "error", "error": failure}, 1


def leave(code: int) -> NoReturn:
    """Run what a normal end of a process runs, then end it; the launcher bounds the time this may take."""
    with contextlib.suppress(BaseException):  # whatever it is, the outcome is already told
        wind_up()
    os._exit(code)


def wind_up() -> None:
    """What a normal end of a process runs, and before it what a kernel's event loop would."""
    asyncio_tasks.finish()
    if threading.active_count() > 1:
        threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()


def _exit_code(problem: SystemExit) -> int:
    if problem.code is None:
        return 0
    if isinstance(problem.code, int):
        return problem.code & 0xFF
    print(problem.code, file=sys.stderr)
    return 1
