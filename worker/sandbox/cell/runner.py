"""Runs one cell in a real IPython shell and says how it ended."""

from __future__ import annotations

import atexit
import base64
import builtins
import contextlib
import json
import os
import random
import signal
import struct
import subprocess
import sys
import threading
import warnings
from typing import Any, Final, NoReturn

from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher
from IPython.core.error import StdinNotImplementedError
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from ..protocol import packets
from .exception_report import SoftTimeLimitExceeded, describe, users_part
from .streams import Channel, Stream, print_at_once
from .tqdm_progress import Finder

channel: Final = Channel()


class _Publisher(DisplayPublisher):
    """Sends displays into the channel."""

    def publish(
        self,
        data: Any,
        metadata: Any = None,
        source: Any = None,
        *,
        transient: Any = None,
        update: Any = False,
        **kwargs: Any,
    ) -> None:
        del source, kwargs
        kind = "update_display_data" if update else "display_data"
        event = {"type": kind, "data": _bundle(data), "metadata": metadata or {}}
        if transient:
            event["transient"] = transient
        channel.send(event)

    def clear_output(self, wait: bool = False) -> None:
        channel.send({"type": "clear_output", "wait": bool(wait)})


class _Hook(DisplayHook):
    """Sends the value of the last expression into the channel."""

    def start_displayhook(self) -> None:
        self._event: dict[str, Any] = {}

    def write_output_prompt(self) -> None:
        pass

    def write_format_data(self, format_dict: Any, md_dict: Any = None) -> None:
        self._event = {"type": "execute_result", "data": _bundle(format_dict), "metadata": md_dict or {}}

    def finish_displayhook(self) -> None:
        if self._event.get("data"):
            channel.send({**self._event, "execution_count": 1})


class Shell(InteractiveShell):
    """An IPython shell whose every output goes into the channel."""

    def __init__(self, **options: Any) -> None:
        self.failure: dict[str, Any] | None = None
        super().__init__(  # type: ignore[no-untyped-call]
            displayhook_class=_Hook, display_pub_class=_Publisher, **options
        )

    def _get_exc_info(self, exc_tuple: Any = None) -> Any:
        etype, evalue, trace = super()._get_exc_info(exc_tuple)  # type: ignore[no-untyped-call, unused-ignore]
        return etype, evalue, users_part(trace, _ours())

    def _showtraceback(self, etype: Any, evalue: Any, stb: Any) -> None:
        self.failure = describe(etype, evalue, stb)

    def system(self, cmd: str) -> None:
        """Run a shell command on the cell's own descriptors; there are no terminals here."""
        self.user_ns["_exit_code"] = subprocess.call(["/bin/sh", "-c", self._expand(cmd, 2)])

    def getoutput(self, cmd: str, split: bool = True, depth: int = 0) -> Any:
        """Run a shell command and return what it printed."""
        from IPython.utils.text import LSString, SList

        command = ["/bin/sh", "-c", self._expand(cmd, depth + 2)]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        text = done.stdout.decode("utf-8", "replace")
        return SList(text.splitlines()) if split else LSString(text)

    def _expand(self, cmd: str, depth: int) -> str:
        return str(self.var_expand(cmd, depth=depth))  # type: ignore[no-untyped-call]

    def ask_exit(self) -> None:
        """``exit()`` and ``quit()``."""
        raise SystemExit(0)

    def enable_gui(self, gui: Any = None) -> None:
        """There is no screen."""


def make_shell(home: str) -> Shell:
    """The shell, ready to run; made once in the zygote and used once in each cell.

    Args:
        home: an existing folder for the profile that IPython insists on.
    """
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "neutral"
    config.InteractiveShell.ipython_dir = home
    config.InteractiveShell.show_rewritten_input = False
    Shell.clear_instance()
    InteractiveShell.clear_instance()
    shell: Shell = Shell.instance(config=config)
    # what it would tidy up at the end goes with the sandbox, and is torn down while somebody waits
    atexit.unregister(shell.atexit_operations)
    warnings.filterwarnings("ignore", message="To exit: use")
    builtins.SoftTimeLimitExceeded = SoftTimeLimitExceeded  # type: ignore[attr-defined]
    builtins.input = _no_input
    builtins.print = print_at_once
    import getpass

    getpass.getpass = _no_input
    sys.meta_path.insert(0, Finder())
    return shell


#: what a notebook does most: each line loads modules and fills caches that every cell then shares
_REHEARSAL: Final = (
    ("", "import sys\nprint(sys.version, file=sys.stderr)\n1 + 1"),
    ("", "1 / 0"),
    ("", "import asyncio, subprocess, tempfile"),  # no event loop: its descriptors would not live on in a cell
    ("numpy", "import numpy\nnumpy.arange(3.0)"),
    ("pandas", "import pandas\npandas.DataFrame({'a': [1, 2], 'b': ['x', 'y']})"),
    ("matplotlib.pyplot", "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.title('t')"),
)


def rehearse(shell: Any) -> None:
    """Run cells of our own with nobody listening, so that no real one pays for what they load."""
    stdout, stderr = sys.stdout, sys.stderr
    sys.stdout = Stream(channel, packets.STDOUT)
    sys.stderr = Stream(channel, packets.STDERR)
    try:
        for module, code in _REHEARSAL:
            if not module or module in sys.modules:
                shell.run_cell(code, store_history=True)
    finally:
        sys.stdout, sys.stderr = stdout, stderr
    shell.failure = None
    shell.reset(new_session=True)


def reseed() -> None:
    """Give the generators of random numbers, which every cell inherits, a state of their own."""
    random.seed()
    if (numpy_random := sys.modules.get("numpy.random")) is not None:
        # given the numbers it does not load, and copy, what it needs to find some itself
        numpy_random.seed(struct.unpack("4I", os.urandom(16)))
    if (torch := sys.modules.get("torch")) is not None:
        torch.seed()


#: what cells do, the most usual first; IPython has a way of its own for those of a single line
_TYPICAL: Final = (
    ("", "1 + 1"),
    ("", "import sys\nprint(sys.version)\n1 + 1"),
    ("pandas", "import pandas\npandas.DataFrame({'a': [1, 2], 'b': ['x', 'y']})"),
)


def typical(count: int) -> list[str]:
    """What cells usually do, as far as its library is loaded.

    Args:
        count: how many at most.
    """
    return [code for module, code in _TYPICAL[:count] if not module or module in sys.modules]


def run(shell: Any, request: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """Run the cell.

    Args:
        shell: a shell in which nothing ran yet.
        request: ``code``, ``inputs`` and ``outputs``.

    Returns:
        the end report and the exit code of the process
    """
    shell.user_ns.update(request.get("inputs") or {})
    try:
        signal.signal(signal.SIGINT, _soft_limit)
        ended = _run(shell, request)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the report must get out
        return ended
    except BaseException as err:  # the limit struck between the cell's end and ours; it does so but once
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        return {"status": "error", "error": describe(type(err), err, [])}, 1


def _run(shell: Any, request: dict[str, Any]) -> tuple[dict[str, Any], int]:
    try:
        result = shell.run_cell(request["code"], store_history=True)
        problem = result.error_before_exec or result.error_in_exec
        shown = shell.failure if problem is None else None
        if shown and "SoftTimeLimitExceeded" not in shown["kinds"]:
            # a display that failed is shown and does not fail the cell, as in a notebook
            print("\n".join(shown["traceback"]), file=sys.stderr)
        elif shown:
            return {"status": "error", "error": shown}, 1
        if problem is None:
            return {"status": "ok", "values": _values(shell, request.get("outputs") or ())}, 0
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
    """What a normal end of a process runs."""
    if threading.active_count() > 1:
        threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()


def _bundle(data: Any) -> dict[str, Any]:
    out = {}
    for mime, value in dict(data).items():
        mime = str(mime)
        if isinstance(value, bytes):
            value = base64.b64encode(value).decode()
        elif not isinstance(value, str) and not mime.endswith(("/json", "+json")):
            # text in lines is legal in a notebook; everything else must be made text, as it would be when shown
            value = "".join(map(str, value)) if isinstance(value, list) else str(value)
        out[mime] = value
    return out


def _values(shell: Shell, names: Any) -> dict[str, Any]:
    values = {}
    for name in names:
        if name not in shell.user_ns:
            raise NameError(f"output {name!r} is not defined after the cell")
        try:
            values[name] = json.loads(json.dumps(shell.user_ns[name], allow_nan=False, default=_plain))
        except (TypeError, ValueError, RecursionError) as err:
            raise TypeError(f"output {name!r} cannot be returned as JSON: {err}") from None
    return values


def _plain(value: Any) -> Any:
    # numpy and pandas values have one of these
    for method in ("tolist", "to_dict"):
        if hasattr(value, method):
            return getattr(value, method)()
    raise TypeError(f"{type(value).__name__} is not JSON")


def _exit_code(problem: SystemExit) -> int:
    if problem.code is None:
        return 0
    if isinstance(problem.code, int):
        return problem.code & 0xFF
    print(problem.code, file=sys.stderr)
    return 1


def _soft_limit(_signal: int, _frame: Any) -> None:
    raise SoftTimeLimitExceeded("the soft time limit has passed")


def _ours() -> str:
    # modules held in memory have no file: their code is named all the same
    return _soft_limit.__code__.co_filename.removesuffix("runner.py").removesuffix("runner.py>")


def _no_input(*_args: Any, **_options: Any) -> str:
    raise StdinNotImplementedError("input() is not available: nobody can answer a cell that runs remotely")
