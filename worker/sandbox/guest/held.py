"""Our own modules, read before the zygote locks itself in where their files cannot be reached."""

from __future__ import annotations

import importlib.machinery
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from types import CodeType, ModuleType

_PACKAGE = __name__.rpartition(".")[0]


class HeldModules:
    """Finds and loads the modules of this package from memory."""

    def __init__(self) -> None:
        files = Path(__file__).parent.glob("*.py")
        self._code: dict[str, CodeType] = {
            file.stem: compile(file.read_text(encoding="utf-8"), f"<sandbox {file.name}>", "exec") for file in files
        }

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """As the import system asks."""
        del path, target
        package, _, stem = name.rpartition(".")
        if package != _PACKAGE or stem not in self._code:
            return None
        return importlib.util.spec_from_loader(name, self)  # type: ignore[arg-type]

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        """The usual kind of module will do."""
        del spec

    def exec_module(self, module: ModuleType) -> None:
        """Run the held code."""
        exec(self._code[module.__name__.rpartition(".")[2]], module.__dict__)  # noqa: S102 - our own source
