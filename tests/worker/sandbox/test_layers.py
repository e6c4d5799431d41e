"""Folders are processes: who may import what, read from the sources."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import worker

WORKER = Path(worker.__file__).parent
SANDBOX = WORKER / "sandbox"
PACKAGE = "worker.sandbox"

#: which folders of the sandbox each folder may import from, beside itself
LAYERS = {
    "linux": set(),
    "protocol": set(),
    "fastfork": {"linux"},
    "cell": {"fastfork", "linux", "protocol"},
    "zygote": {"cell", "fastfork", "linux", "protocol"},
    "launcher": {"linux", "protocol"},
}
#: of the modules at the top, those that are no face of the worker: the launcher starts the zygote with it
SHARED = {"spawn"}
#: beside the standard library in the interpreter of the cells; matplotlib, comm and cloudpickle only if they are there
IN_CELLS = {"IPython", "traitlets", "matplotlib", "matplotlib_inline", "comm", "cloudpickle"}
#: the one module of the fork tuning that others may name
TUNING = f"{PACKAGE}.fastfork.tuning"


def imported(path: Path) -> Iterator[str]:
    """Absolute names of everything a file imports, wherever in it; of ``from a import b`` both readings."""
    package = ["worker", *path.relative_to(WORKER).parent.parts]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            name = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{name}.{alias.name}" for alias in node.names)


def sources(folder: str) -> list[Path]:
    """The modules of one folder."""
    found = sorted((SANDBOX / folder).rglob("*.py"))
    assert found, folder
    return found


@pytest.mark.parametrize("folder", LAYERS)
def test_a_process_imports_only_the_layers_below(folder: str) -> None:
    """What is imported is the standard library, the folder itself or a layer below; in a cell also IPython."""
    allowed = {folder, *LAYERS[folder], *(SHARED if folder == "launcher" else ())}
    wrong = []
    for path in sources(folder):
        for name in imported(path):
            parts = name.split(".")
            if parts[:2] == ["worker", "sandbox"]:
                fine = len(parts) > 2 and parts[2] in allowed
            else:
                others = IN_CELLS if folder in ("cell", "zygote") else set()
                fine = parts[0] in sys.stdlib_module_names or parts[0] in others
            if not fine:
                wrong.append(f"{path.relative_to(WORKER)}: {name}")
    assert wrong == []


def test_what_the_launcher_shares_with_the_worker_is_clean() -> None:
    """A module at the top that the launcher imports, too, is bound by the launcher's rules."""
    for module in SHARED:
        names = [name for name in imported(SANDBOX / f"{module}.py") if name.split(".")[0] != "worker"]
        assert all(name.split(".")[0] in sys.stdlib_module_names for name in names)
        ours = {name.split(".")[2] for name in imported(SANDBOX / f"{module}.py") if name.startswith(PACKAGE)}
        assert ours <= {"protocol", "linux"}


def test_nobody_names_the_modules_of_the_fork_tuning() -> None:
    """Outside of ``fastfork/`` there is one name for all of it, so that one line deletes it."""
    named = [
        f"{path.relative_to(WORKER)}: {name}"
        for path in WORKER.rglob("*.py")
        if path.parent.name != "fastfork"
        for name in imported(path)
        if name.startswith(f"{PACKAGE}.fastfork") and not name.startswith(TUNING)
    ]
    assert named == []


def test_the_readings_of_imports_are_right(tmp_path: Path) -> None:
    """The test would see what it looks for: relative, absolute and late imports."""
    (path,) = [path for path in sources("zygote") if path.name == "entry.py"]
    found = set(imported(path))
    assert {f"{PACKAGE}.fastfork.tuning", f"{PACKAGE}.zygote.namespaced_zygote", "os", "typing.Final"} <= found
