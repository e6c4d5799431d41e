"""A fresh cell's interpreter equals a fresh kernel's: every difference is found, and each has its reason here."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

import pytest
from local_kernel import LocalKernel

from codeexec_magic.contract import stream_text
from codeexec_magic.limits import Limits
from worker.sandbox import Cell, Sandbox

WALK: Final = Path(__file__).with_name("interpreter_state.py").read_text()
LIMITS: Final = Limits(soft_s=60.0, hard_s=70.0)
PRELOAD: Final = ("numpy", "pandas", "matplotlib.pyplot")
#: names, and why they differ
EXPLAINED: Final = {
    "alias.*": "the kernel has magics of these names that use the notebook's pager; a cell prints",
    "magic.line.autosave": "changes the notebook, which a worker cannot",
    "magic.line.connect_info": "there is no connection file",
    "magic.line.qtconsole": "there is nothing to connect to",
    "magic.line.subshell": "there are no subshells",
    "builtins.SoftTimeLimitExceeded": "what the soft limit raises; a cell may catch it",
    "builtins.execfile": "the debugger's",
    "builtins.runfile": "the debugger's",
    "builtins.input": "says that nobody can answer",
    "builtins.print": "writes a line at once",
    "environ.POLARS_MAX_THREADS": "polars must not start a thread for each processor of a large machine",
    "environ.NPROC": "the same for XLA",
    "environ.LOKY_MAX_CPU_COUNT": "the same for joblib",
    "environ.*_NUM_THREADS": "a library must not start a thread for each processor of the worker's machine",
    "environ.IPYTHONDIR": "the test's own kernel",
    "environ.JPY_PARENT_PID": "the process that started the kernel",
    "environ.PYDEVD_USE_FRAME_EVAL": "the debugger's",
    "environ.LANG": "C.UTF-8 always",
    "environ.LOGNAME": "a user of the sandbox",
    "environ.USER": "a user of the sandbox",
    "environ.SHELL": "the sandbox's",
    "environ.TMPDIR": "the sandbox's",
    "events.post_execute": "pyplot is imported already, and shows its figures at the end of each cell",
    "matplotlib.interactive": "pyplot is imported already, with the backend of notebooks",
    "matplotlib.changed": "pyplot is imported already, with the backend of notebooks",
    "flags.*": "the interpreter starts isolated from its environment, in UTF-8 mode",
    "sys.flags": "the interpreter starts isolated from its environment, in UTF-8 mode",
    "sys._xoptions": "the interpreter starts in UTF-8 mode",
    "sys.dont_write_bytecode": "libraries are read-only",
    "sys.__interactivehook__": "set up for a terminal, which neither has",
    "sys.breakpointhook": "the debugger's",
    "sys().get_asyncgen_hooks": "a kernel's event loop runs all the time, and asyncio.run() fails there",
    "modules.*": "the code of ipykernel is loaded when it is used",
    "meta_path.*": "tqdm's modules for notebooks are ours",
    "sys.std*": "the streams write into the event channel",
    "sys.__std*__": "the streams write into the event channel",
    "sys.displayhook": "writes into the event channel",
    "sys.path": "a checkout's own folder comes with the interpreter",
    "sys.path_hooks": "the debugger's",
    "main.exit": "takes a status",
    "main.quit": "takes a status",
    "shell.exiter": "takes a status",
    "shell.compile*": "names a cell's code as IPython in a terminal does",
    "shell.display_pub*": "writes into the event channel",
    "shell.displayhook*": "writes into the event channel",
    "shell.data_pub*": "deprecated, and used by IPython's parallel engines only",
    "shell.failure": "how a cell's error is told",
    "shell.profile_dir": "makes its folders when they are used",
    "shell.readline_use": "an attribute without use",
    "shell.sys_excepthook": "the kernel's application writes to its own terminal",
    "warnings.*": "numpy and pandas are imported already and add filters; the advice on leaving a kernel is not shown",
}


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], dict[str, str]]:
    """The state of a fresh kernel and of a fresh cell."""
    with LocalKernel(tmp_path_factory.mktemp("kernel")) as kernel:
        events = kernel.run(WALK)
        local = json.loads(stream_text(events, "stdout"))
    seen: list[dict[str, Any]] = []
    with Sandbox(slots=1, preload=PRELOAD, required_isolation=0) as sandbox:
        outcome = sandbox.run(Cell("state", WALK, LIMITS)).wait(seen.append)
    assert outcome.success, outcome
    return local, json.loads(stream_text(seen, "stdout"))


def test_every_difference_is_explained(states: tuple[dict[str, str], dict[str, str]]) -> None:
    """What a warm-up left, and what the sandbox takes away, would be among them."""
    local, remote = states
    different = {
        name: (local.get(name, "missing"), remote.get(name, "missing"))
        for name in local.keys() | remote.keys()
        if local.get(name) != remote.get(name)
    }
    unexplained = {n: v for n, v in different.items() if not any(fnmatchcase(n, pattern) for pattern in EXPLAINED)}
    assert unexplained == {}


def test_the_walk_sees_much(states: tuple[dict[str, str], dict[str, str]]) -> None:
    """Names of each part are there, so that equality means something."""
    local, remote = states
    assert len(local.keys() & remote.keys()) > 600
    for name in ("main.__spec__", "underscore._", "sys.last.last_value", "history._ii", "matplotlib.figures"):
        assert name in remote, name
