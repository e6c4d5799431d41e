"""What the interpreter of the cells has: its version, and the packages and modules that can be imported."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, Final

_DEADLINE_S: Final = 120
#: runs in that interpreter, which has none of our packages; it is the operator's, and no cell's
_PROGRAM: Final = """
import importlib.metadata, json, pkgutil, sys
packages, modules = {}, set(sys.stdlib_module_names) | set(sys.builtin_module_names)
for one in importlib.metadata.distributions():
    name = one.metadata["Name"]
    if name:
        packages[name] = one.version
modules |= set(importlib.metadata.packages_distributions())
modules |= {one.name for one in pkgutil.iter_modules()}
print(json.dumps({"python": "%d.%d.%d" % sys.version_info[:3], "packages": packages, "modules": sorted(modules)}))
"""


def describe(python: str | None) -> dict[str, Any] | None:
    """Version, packages and modules of an interpreter; None if it does not tell.

    Args:
        python: the interpreter; None: this one.
    """
    try:
        done = subprocess.run(
            [python or sys.executable, "-I", "-c", _PROGRAM],
            capture_output=True,
            check=True,
            env={},
            cwd="/",
            timeout=_DEADLINE_S,
        )
        told = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return told if isinstance(told, dict) else None
