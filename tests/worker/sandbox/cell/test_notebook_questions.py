"""Whoever asks whether this is a notebook gets one answer in a local kernel and in a cell."""

from __future__ import annotations

import ast
from typing import Any, Final

import pytest
from local_kernel import LocalKernel

from codeexec_magic.contract import stream_text
from codeexec_magic.limits import Limits
from worker.sandbox import Cell, Sandbox

#: each is how a library asks; those of libraries that tests do not install are spelled out
QUESTIONS: Final = {
    "spacy, rich, gradio": "get_ipython().__class__.__name__",
    "scooby, pyvista": "type(get_ipython()).__module__.startswith('ipykernel.')",
    "pandas console": "'zmq' in str(type(get_ipython())).lower()",
    "pandas terminal": "hasattr(get_ipython(), 'kernel')",
    "transformers, tqdm": "'IPKernelApp' in get_ipython().config",
    "lightning": "get_ipython().has_trait('kernel')",
    "distributed": "getattr(get_ipython(), 'kernel', None) is not None",
    "sympy": "bool(get_ipython().config.get('IPKernelApp')) or 'IPKernelApp' in get_ipython().config",
    "modules": "[name in sys.modules for name in ('IPython', 'ipykernel', 'ipykernel.zmqshell')]",
    "builtins": "[hasattr(builtins, name) for name in ('__IPYTHON__', 'display', 'get_ipython', 'exit')]",
    "prompt": "(hasattr(sys, 'ps1'), bool(sys.flags.interactive), hasattr(__import__('__main__'), '__file__'))",
    "terminal": "(sys.stdout.isatty(), sys.stderr.isatty(), sys.stdin.isatty())",
    "isinstance": "isinstance(get_ipython(), __import__('ipykernel.zmqshell').zmqshell.ZMQInteractiveShell)",
    "application": "__import__('ipykernel.kernelapp').kernelapp.IPKernelApp.initialized()",
    "application's shell": "IPKernelApp.instance().shell is get_ipython()",
    "ipywidgets": "type(get_ipython().kernel.get_parent()).__name__",
    "comm": "hasattr(get_ipython().kernel.comm_manager, 'register_target')",
    "instance": "InteractiveShell.initialized() and InteractiveShell.instance() is get_ipython()",
    "colour": "[os.environ.get(name) for name in ('TERM', 'FORCE_COLOR', 'CLICOLOR', 'NO_COLOR', 'COLUMNS', 'PAGER')]",
    "size": "tuple(shutil.get_terminal_size())",
    "matplotlib": "os.environ['MPLBACKEND']",
    "matplotlib backend": "(plt.get_backend(), plt.isinteractive())",
    "pandas columns": "[pd.get_option('display.' + name) for name in ('max_columns', 'width', 'notebook_repr_html')]",
    "tqdm.auto": "issubclass(tqdm.auto.tqdm, tqdm.tqdm) and tqdm.auto.tqdm is not tqdm.tqdm",
    "interrupt": "signal.getsignal(signal.SIGINT) is signal.default_int_handler",
    "main": "(__name__, __spec__, __doc__, '__file__' in globals())",
    "start method": "multiprocessing.get_start_method()",
    "path": "sys.path.index('') < min(i for i, p in enumerate(sys.path) if p.endswith('site-packages'))",
    "working folder": "_dh[0] == pathlib.Path(os.getcwd()) and len(_dh) == 1",
    "magics": "all(n in get_ipython().magics_manager.magics['line'] for n in ('store', 'matplotlib', 'cd', 'pip'))",
    "formatters": "sorted(get_ipython().display_formatter.active_types)",
    "last value": "(_, __, ___, _i, _ii, _iii)",
}
#: a kernel with pyplot just imported has no backend before the first figure, so the question comes after one
CODE: Final = f"""\
import builtins, multiprocessing, os, pathlib, shutil, signal, sys, warnings
import matplotlib.pyplot as plt, pandas as pd, tqdm
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import tqdm.auto
from IPython.core.interactiveshell import InteractiveShell
plt.close(plt.figure())
answers = {{}}
for name, question in {QUESTIONS!r}.items():
    try: answers[name] = eval(question)
    except Exception as err: answers[name] = repr(err)
    if name == "application": from ipykernel.kernelapp import IPKernelApp
print(answers)
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of a local kernel and of a cell."""
    with LocalKernel(tmp_path_factory.mktemp("kernel")) as kernel:
        local = ast.literal_eval(stream_text(kernel.run(CODE), "stdout"))
    events: list[dict[str, Any]] = []
    with Sandbox(slots=1, preload=("numpy", "pandas", "matplotlib.pyplot"), required_isolation=0) as sandbox:
        outcome = sandbox.run(Cell("questions", CODE, Limits(soft_s=60.0, hard_s=70.0))).wait(events.append)
    assert outcome.success, outcome
    return local, ast.literal_eval(stream_text(events, "stdout"))


@pytest.mark.parametrize("name", QUESTIONS)
def test_the_answer_is_a_kernels(answers: tuple[dict[str, Any], dict[str, Any]], name: str) -> None:
    """And no question fails in a kernel."""
    local, remote = answers
    assert "Error" not in str(local[name])
    assert remote[name] == local[name]
