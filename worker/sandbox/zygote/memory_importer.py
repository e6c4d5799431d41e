"""Our own modules, read into memory before the zygote enters namespaces from which their files cannot be reached."""

from __future__ import annotations

import importlib.machinery
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from types import CodeType, ModuleType
from typing import Final

_ROOT: Final = __name__.rsplit(".", 2)[0]
#: folders of this package that zygote and cells import from
_PACKAGES: Final = ("cell", "fastfork", "linux", "protocol", "protocol/codec", "zygote")


class MemoryImporter:
    """Finds and loads the modules of the sandbox package from memory."""

    def __init__(self) -> None:
        folder = Path(__file__).resolve().parents[1]
        self._code: dict[str, CodeType] = {}
        self._packages = {f"{_ROOT}.{package.replace('/', '.')}" for package in _PACKAGES}
        for package in _PACKAGES:
            dotted = f"{_ROOT}.{package.replace('/', '.')}"
            for file in (folder / package).glob("*.py"):
                name = dotted if file.stem == "__init__" else f"{dotted}.{file.stem}"
                source = file.read_text(encoding="utf-8")
                self._code[name] = compile(source, f"<sandbox {package}/{file.name}>", "exec")

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Answer the import system."""
        del path, target
        if name not in self._code:
            return None
        is_package = name in self._packages
        return importlib.util.spec_from_loader(name, self, is_package=is_package)  # type: ignore[arg-type]

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        """Let the import system create an ordinary module."""
        del spec

    def exec_module(self, module: ModuleType) -> None:
        """Execute the code that was read at the start."""
        exec(self._code[module.__name__], module.__dict__)  # noqa: S102 - our own source
