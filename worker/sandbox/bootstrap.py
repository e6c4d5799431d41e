"""Command lines that start our modules from their file paths, in an interpreter that has none of our packages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

_HERE: Final = Path(__file__).resolve().parent
#: registers a folder as a package under a private name, leaving the module search path as it was
_BOOT: Final = (
    "import importlib,sys,types;"
    "name,path,module=sys.argv[1:4];del sys.argv[1:4];"
    "package=types.ModuleType(name);package.__path__=[path];sys.modules[name]=package;"
    "importlib.import_module(name+'.'+module).main()"
)


def launcher_command(python: str, fd: int, config: dict[str, Any]) -> list[str]:
    """How the launcher is executed: isolated, and without the site packages it does not need."""
    start = [python, "-I", "-S", "-B", "-c", _BOOT]
    return [*start, "_codeexec_sandbox", str(_HERE), "launcher", str(fd), json.dumps(config)]


def zygote_command(python: str, fd: int, config: dict[str, Any]) -> list[str]:
    """How the zygote is executed, in the interpreter of the cells."""
    start = [python, "-I", "-B", "-X", "utf8", "-c", _BOOT]
    return [*start, "_codeexec_guest", str(_HERE / "guest"), "zygote", str(fd), json.dumps(config)]
