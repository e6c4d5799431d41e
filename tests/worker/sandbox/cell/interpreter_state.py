# ruff: noqa: PTH109, PTH111
# Walks what a notebook's interpreter consists of and prints it as one JSON object of texts; run as a cell, in a kernel
# and in a sandbox, before anything else ran there. No name may stay behind: all of it is one function.


def _walk():
    import builtins
    import gc
    import json
    import logging
    import os
    import re
    import signal
    import sys
    import threading
    import warnings

    shell = get_ipython()  # noqa: F821
    state = {}

    def text(value):
        if callable(value) or type(value).__module__ not in ("builtins", "pathlib", "__main__"):
            value = f"<{type(value).__name__} {getattr(value, '__qualname__', '')}>"
        found = re.sub(r" at 0x[0-9a-f]+", "", repr(value))
        return found.replace(os.getcwd(), "CWD").replace(os.path.expanduser("~"), "HOME")[:200]

    def add(part, values):
        state.update({f"{part}.{name}": text(value) for name, value in values.items()})

    own = ("_walk", "_", "__", "_i1", "_1")
    add("main", {k: v for k, v in sys.modules["__main__"].__dict__.items() if k not in own and k != "_i"})
    add("hidden", dict.fromkeys((k for k in shell.user_ns_hidden if k not in own), True))
    add("underscore", {name: shell.user_ns.get(name, "<none>") for name in ("_", "__", "___", "_ii", "_iii")})
    add("builtins", vars(builtins))
    # counters and tables that differ from one process to the next
    skip = {"modules", "path_importer_cache", "argv", "orig_argv", "stdlib_module_names", "meta_path"}
    add("sys", {k: v for k, v in vars(sys).items() if k not in skip})
    add("sys.last", {k: getattr(sys, k, "<none>") for k in ("last_type", "last_value", "last_traceback", "last_exc")})
    add("flags", {k: getattr(sys.flags, k) for k in dir(sys.flags) if k[0] != "_" and k not in ("count", "index")})
    add("meta_path", {str(i): getattr(f, "__name__", type(f).__name__) for i, f in enumerate(sys.meta_path)})
    calls = {"getrecursionlimit", "getswitchinterval", "gettrace", "getprofile", "getdefaultencoding"}
    calls |= {"getfilesystemencoding", "get_asyncgen_hooks", "is_finalizing", "getdlopenflags"}
    add("sys()", {name: getattr(sys, name)() for name in sorted(calls)})
    add("gc", {"enabled": gc.isenabled(), "threshold": gc.get_threshold(), "callbacks": len(gc.callbacks)})
    add("signal", {s.name: signal.getsignal(s) for s in signal.Signals if s.name not in ("SIGKILL", "SIGSTOP")})
    add("signal", {"mask": signal.pthread_sigmask(signal.SIG_BLOCK, ()), "wakeup": signal.set_wakeup_fd(-1)})
    add("thread", {"name": threading.current_thread().name, "hook": threading.excepthook})
    add("thread", {"main": threading.current_thread() is threading.main_thread(), "stack": threading.stack_size()})
    add("warnings", {str(i): (*f[:1], f[2].__name__) for i, f in enumerate(warnings.filters)})
    add("logging", {"handlers": logging.root.handlers, "level": logging.root.level, "last": logging.lastResort})
    environment = {k: v for k, v in os.environ.items() if k not in ("HOME", "PATH")}
    add("environ", environment)
    add("process", {"cwd": os.getcwd(), "umask": (old := os.umask(0)), "nice": os.nice(0), "tty": os.isatty(0)})
    os.umask(old)

    add("shell", {name: getattr(shell, name) for name in shell.trait_names() if name not in ("config", "parent")})
    add("shell", {name: value for name, value in vars(shell).items() if name[0] != "_"})
    add("shell", {"class": type(shell).__name__, "module": type(shell).__module__, "kernel": shell.has_trait("kernel")})
    add("config", {"IPKernelApp": "IPKernelApp" in shell.config})
    add("history", {name: getattr(shell.history_manager, name) for name in ("_i00", "_ii", "_iii", "dir_hist")})
    add("history", {"inputs": len(shell.history_manager.input_hist_raw), "outputs": shell.history_manager.output_hist})
    add("history", {"errors": getattr(shell.history_manager, "exceptions", {})})
    add("displayhook", {name: getattr(shell.displayhook, name) for name in ("_", "__", "___", "prompt_count")})
    add("traceback", {name: getattr(shell.InteractiveTB, name, "<none>") for name in ("tb", "etype", "mode", "pdb")})
    add("events", {name: len(found) for name, found in shell.events.callbacks.items()})
    for kind, magics in shell.magics_manager.magics.items():
        add(f"magic.{kind}", dict.fromkeys(magics, True))
    add("alias", dict(shell.alias_manager.aliases))
    add("extension", dict.fromkeys(shell.extension_manager.loaded, True))
    for mime, formatter in shell.display_formatter.formatters.items():
        add(f"formatter.{mime}", {"enabled": formatter.enabled})
    add("modules", dict.fromkeys((m for m in sys.modules if m.partition(".")[0] in ("ipykernel", "comm")), True))

    import matplotlib
    import matplotlib.pyplot as plt

    add("matplotlib", {"figures": plt.get_fignums(), "backend": matplotlib.get_backend()})
    changed = sorted(k for k, v in matplotlib.rcParams.items() if v != matplotlib.rcParamsDefault[k])
    add("matplotlib", {"interactive": matplotlib.is_interactive(), "changed": changed})
    add("matplotlib", {"called": getattr(plt.draw_if_interactive, "called", False)})

    import numpy
    import pandas

    add("numpy", {"errors": numpy.geterr(), **numpy.get_printoptions()})
    for name in ("max_columns", "max_rows", "width", "notebook_repr_html", "max_colwidth", "show_dimensions"):
        add("pandas", {name: pandas.get_option(f"display.{name}")})
    print(json.dumps(state))


_walk()
del _walk
