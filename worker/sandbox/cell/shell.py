"""The IPython shell of a cell: libraries see a notebook's kernel, and every output goes into the event channel."""

from __future__ import annotations

import atexit
import base64
import builtins
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any, Final, NoReturn, cast

from IPython.core.autocall import ExitAutocall
from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher
from IPython.core.error import StdinNotImplementedError, UsageError
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.profiledir import ProfileDir
from traitlets import Any as AnyTrait
from traitlets import default
from traitlets.config import Config

from . import asyncio_tasks, kernel, traceback_frames
from .exception_report import describe
from .soft_limit import SoftTimeLimitExceeded
from .streams import Channel, print_at_once
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


class _Exit(ExitAutocall):
    """``exit``, ``exit()``, ``exit(3)`` and ``exit("text")`` end the cell as they end a program."""

    def __call__(self, code: Any = None) -> NoReturn:
        raise SystemExit(code)


class _ProfileDir(ProfileDir):
    """A profile folder that is made when something is kept in it: in the zygote there is no home of a cell yet."""

    def _location_changed(self, change: Any) -> None:
        """Make no folder."""


class ZMQInteractiveShell(InteractiveShell):
    """An IPython shell with the name and the marks by which libraries recognise the shell of a notebook's kernel."""

    kernel = AnyTrait()

    def __init__(self, **options: Any) -> None:
        self.failure: dict[str, Any] | None = None
        self._database: Any = None
        self._left_out = 0  #: frames of the traceback that is being shown
        super().__init__(  # type: ignore[no-untyped-call]
            displayhook_class=_Hook, display_pub_class=_Publisher, **options
        )

    def init_profile_dir(self, profile_dir: Any) -> None:
        """Have a profile folder for as long as there is no cell's home."""
        del profile_dir
        self.profile_dir = _ProfileDir(location=self.ipython_dir)

    def _ipython_dir_changed(self, change: Any) -> None:
        """Make no folder."""

    def move_home(self, home: str) -> None:
        """Have a cell's home folder, in which IPython makes its own folders when it uses them.

        Args:
            home: the folder, which need not exist yet.
        """
        self.home_dir = self.starting_dir = home
        self.ipython_dir = os.path.join(home, ".ipython")  # noqa: PTH118 - run for every cell
        profile, history = cast("Any", self.profile_dir), cast("Any", self.history_manager)
        profile.location = os.path.join(self.ipython_dir, "profile_default")  # noqa: PTH118
        history.dir_hist[:] = [Path(home)]

    @property
    def db(self) -> Any:
        """What ``%store``, ``%bookmark`` and ``%cd`` remember."""
        if self._database is None:
            profile = cast("Any", self.profile_dir)
            self._database = _database_class()(os.path.join(profile.location, "db"))  # noqa: PTH118
        return self._database

    @db.setter
    def db(self, database: Any) -> None:
        """Ignored: what IPython sets when it makes the shell lies in the zygote's folder."""

    @default("exiter")
    def _exiter_default(self) -> ExitAutocall:
        return _Exit(self)  # type: ignore[no-untyped-call]

    def showtraceback(self, *args: Any, **options: Any) -> None:
        """Show the error that is being handled."""
        given = args[0] if args else options.get("exc_tuple")
        error = given[1] if isinstance(given, tuple) and len(given) == 3 else sys.exc_info()[1]
        with traceback_frames.modules_known(error):
            super().showtraceback(*args, **options)  # type: ignore[no-untyped-call, unused-ignore]

    def _get_exc_info(self, exc_tuple: Any = None) -> Any:
        etype, evalue, trace = super()._get_exc_info(exc_tuple)  # type: ignore[no-untyped-call, unused-ignore]
        trace, self._left_out = traceback_frames.users_part(trace, _OURS)
        return etype, evalue, trace

    def _showtraceback(self, etype: Any, evalue: Any, stb: Any) -> None:
        lines = list(stb)
        if self._left_out:
            lines.insert(-1, f"[... {self._left_out} frames left out of the middle]\n")
        self.failure = describe(etype, evalue, lines)

    def _format_exception_for_storage(self, exception: BaseException, *args: Any, **options: Any) -> dict[str, Any]:
        """What the history keeps of an error: what was shown, rather than all of it formatted once more."""
        del args, options
        shown = self.failure or describe(type(exception), exception, [])
        return {name: shown[name] for name in ("ename", "evalue", "traceback")}

    def should_run_async(self, raw_cell: str, **options: Any) -> bool:
        """Whether the cell needs an event loop that runs."""
        code = options.get("transformed_cell") or ""
        return super().should_run_async(raw_cell, **options) or asyncio_tasks.needs_running_loop(code)  # type: ignore[no-untyped-call, unused-ignore]

    def set_next_input(self, s: str, replace: bool = False) -> None:
        """``%load``, ``%recall``."""
        del s, replace
        print("a cell on a worker cannot fill a cell of the notebook: %run runs a file, %cat shows it", file=sys.stderr)

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
        """End the cell."""
        raise SystemExit(0)

    def enable_gui(self, gui: Any = None) -> None:
        """There is no screen."""


ZMQInteractiveShell.__module__ = "ipykernel.zmqshell"


def make_shell(folder: str) -> ZMQInteractiveShell:
    """The shell, ready to run; made once in the zygote and used once in each cell.

    Args:
        folder: for IPython's own files until :meth:`ZMQInteractiveShell.move_home` is called.
    """
    config = Config()
    config.InteractiveShell.ipython_dir = folder
    config.HistoryManager.enabled = False
    config.IPKernelApp.connection_file = ""  # libraries ask whether there is such a section
    config.InteractiveShell.colors = "neutral"
    config.InteractiveShell.autoindent = False
    InteractiveShell.clear_instance()
    shell: ZMQInteractiveShell = ZMQInteractiveShell.instance(config=config)
    # what it would tidy up at the end goes with the sandbox, and is torn down while somebody waits
    atexit.unregister(shell.atexit_operations)
    kernel.announce(shell)
    cast("Any", shell.extension_manager).load_extension("storemagic")
    shell.user_ns_hidden.update(shell.user_ns)  # as in a kernel: %who shows what the cell defines
    warnings.filterwarnings("ignore", message="To exit: use")
    builtins.SoftTimeLimitExceeded = SoftTimeLimitExceeded  # type: ignore[attr-defined]
    builtins.input = _no_input
    builtins.print = print_at_once
    import getpass
    import pdb

    from IPython.core import debugger

    getpass.getpass = _no_password
    if hasattr(debugger, "InterruptiblePdb"):  # as a kernel does it
        pdb.Pdb = debugger.InterruptiblePdb  # type: ignore[assignment, misc]
        pdb.set_trace = debugger.set_trace
    shell.set_hook("editor", _no_editor, 0)  # type: ignore[no-untyped-call]
    sys.meta_path.insert(0, Finder())
    return shell


def _database_class() -> Any:
    """What IPython itself uses; it has been at two places."""
    from IPython.core import interactiveshell

    if hasattr(interactiveshell, "PickleShareDB"):
        return interactiveshell.PickleShareDB
    from IPython.external.pickleshare import PickleShareDB

    return PickleShareDB


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


def _no_editor(*_args: Any, **_options: Any) -> NoReturn:
    raise UsageError("%edit is not available: there is no editor where a cell runs remotely")


def _no_input(*_args: Any, **_options: Any) -> str:
    raise StdinNotImplementedError("input() is not available: nobody can answer a cell that runs remotely")


def _no_password(*_args: Any, **_options: Any) -> str:
    raise StdinNotImplementedError("getpass() is not available: nobody can answer a cell that runs remotely")


# modules held in memory have no file: their code is named all the same
_OURS: Final = _no_input.__code__.co_filename.removesuffix("shell.py").removesuffix("shell.py>")
