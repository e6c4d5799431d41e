"""What libraries look for to learn that they are in a notebook: a kernel behind the shell, and ipykernel's modules.

The modules are ipykernel's own, where the interpreter has it; their code is loaded once somebody uses it, because it
takes a fifth of a second and most cells only look whether it is there.
"""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any, Final

_PACKAGE: Final = "ipykernel"
#: what a kernel has always loaded, and what libraries look for in ``sys.modules``
_MODULES: Final = ("zmqshell", "ipkernel", "kernelapp", "kernelbase", "iostream", "displayhook")


class IPythonKernel:
    """The kernel that a shell in a notebook has, as far as a cell can have it: nobody sends it messages."""

    implementation = "ipython"
    banner = ""

    def __init__(self, shell: Any) -> None:
        self.shell = shell

    @property
    def comm_manager(self) -> Any:
        """Where libraries register the targets of their comms; none is ever opened from outside."""
        from comm import get_comm_manager

        return get_comm_manager()

    def get_parent(self, channel: str | None = None) -> dict[str, Any]:
        """The message that the kernel works on: there is none.

        Args:
            channel: of the message.
        """
        del channel
        return {}


IPythonKernel.__module__ = f"{_PACKAGE}.ipkernel"


def announce(shell: Any) -> None:
    """Give the shell its kernel, and ``sys.modules`` the modules of ipykernel.

    Args:
        shell: the shell of the cells.
    """
    shell.kernel = IPythonKernel(shell)
    spec = PathFinder.find_spec(_PACKAGE)
    if spec is None or _PACKAGE in sys.modules:
        return
    package = _announce_module(spec, shell)
    for name in _MODULES:
        spec = PathFinder.find_spec(f"{_PACKAGE}.{name}", package.__path__)
        if spec is not None:
            setattr(package, name, _announce_module(spec, shell))


def _announce_module(spec: ModuleSpec, shell: Any) -> ModuleType:
    module = importlib.util.module_from_spec(spec)

    def load_and_get(name: str) -> Any:
        # whoever walks sys.modules, as inspect and unittest do, asks each module for such names
        if name.startswith("__") and name not in ("__version__", "__all__"):
            raise AttributeError(f"module {spec.name!r} has no attribute {name!r}")
        if module.__dict__.pop("__getattr__", None) is not None:
            assert spec.loader is not None
            spec.loader.exec_module(module)
            _make_ours(module, shell)
        return getattr(module, name)

    module.__getattr__ = load_and_get  # type: ignore[method-assign]
    sys.modules[spec.name] = module
    return module


def _make_ours(module: Any, shell: Any) -> None:
    """Let questions that are asked of ipykernel's classes have the answers of a kernel."""
    if module.__name__ == f"{_PACKAGE}.zmqshell":
        module.ZMQInteractiveShell = type(shell)
    elif module.__name__ == f"{_PACKAGE}.kernelapp":
        app = module.IPKernelApp.__new__(module.IPKernelApp)
        app.kernel, app.shell = shell.kernel, shell
        module.IPKernelApp._instance = app
