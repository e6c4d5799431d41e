# expect: the run ends by itself or at its limit, as anything but internal; what it printed is there
# group: process
# what: Replaces what the runner needs for its report and for ending the process.
import builtins, json, os, sys, threading, atexit
os.write(1, b"before\n")
def nothing(*args, **kwargs): return None
for name, module in list(sys.modules.items()):
    if "codeexec" in name:
        for key, value in list(vars(module).items()):
            if callable(value) and not key.startswith("__"): setattr(module, key, nothing)
json.dumps = json.loads = nothing
os._exit = os.getpid = atexit._run_exitfuncs = threading._shutdown = nothing
os.write = nothing
for name in ("isinstance", "print", "open", "str", "len", "getattr"): setattr(builtins, name, nothing)
