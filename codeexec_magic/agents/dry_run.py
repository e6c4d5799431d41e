"""A look at code before it runs: whether it parses, what it needs, and what the workers lack."""

from __future__ import annotations

import ast
import builtins
import symtable
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from codeexec_magic.client import Client
from codeexec_magic.errors import CodeSyntaxError
from codeexec_magic.syntax import python_source

#: names that every cell has without binding them
_GIVEN: Final = frozenset({*dir(builtins), "display", "get_ipython", "In", "Out", "_", "__", "___", "__name__"})
#: runs on a worker, and is answered from the cache as long as the workers' environment stays
_FIND: Final = """
from importlib.util import find_spec
lacking = [name for name in names if find_spec(name) is None]
"""
_PACKAGES: Final = """
from importlib.metadata import distributions
packages = sorted({(d.metadata["Name"], d.version) for d in distributions() if d.metadata["Name"]})
"""
#: seconds that a look at the workers' packages may take
_LOOK_S: Final = 30.0


@dataclass(frozen=True)
class DryRun:
    """What a look at the code found. Nothing was run."""

    ok: bool  #: it parses, needs no name that is not given, and the workers have what it imports
    error: str = ""  #: why it does not parse
    line: int | None = None  #: where, from 1
    needs: tuple[str, ...] = ()  #: names that the code uses, does not bind, and was not given as inputs
    imports: tuple[str, ...] = ()  #: top-level modules that it imports
    lacking: tuple[str, ...] = ()  #: modules in ``imports`` that the workers do not have

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def dry_run_of(client: Client, code: str, inputs: Mapping[str, Any], queue: str) -> DryRun:
    """Look at code.

    Args:
        client: the cluster whose workers are asked.
        code: the cell.
        inputs: what the cell would be given.
        queue: where it would run.

    Raises:
        BadRequest: the code is empty or too large.
        ClusterError: the broker cannot be reached.
        JobFailed: the workers could not be asked for their modules.
        JobTimeout: no worker answered.
    """
    try:
        client.check_code(code)
    except CodeSyntaxError as err:
        return DryRun(ok=False, error=str(err), line=err.lineno)
    source = python_source(code)
    if source is None:
        return DryRun(ok=True)  # the body of another cell magic is no Python
    needs = tuple(name for name in free_names(source) if name not in inputs)
    found = DryRun(ok=not needs, needs=needs, imports=tuple(imported(source)))
    if not found.imports:
        return found
    lacking = tuple(_ask(client, _FIND, "lacking", queue, {"names": list(found.imports)}))
    return replace(found, ok=found.ok and not lacking, lacking=lacking)


def packages(client: Client, queue: str) -> dict[str, str]:
    """Names and versions of the packages that cells of a queue can import.

    Args:
        client: the cluster.
        queue: which.

    Raises:
        JobFailed: the workers could not be asked.
        JobTimeout: no worker answered.
    """
    return {str(name): str(version) for name, version in _ask(client, _PACKAGES, "packages", queue, {})}


def _ask(client: Client, code: str, output: str, queue: str, inputs: Mapping[str, Any]) -> Any:
    job = client.submit(code, queue=queue, inputs=inputs, outputs=[output], label="packages of the workers")
    return job.raise_for_status(_LOOK_S).values[output]


def free_names(source: str) -> list[str]:
    """Names that must exist before the code runs: used anywhere, bound nowhere. Sorted.

    Args:
        source: Python, perhaps with top-level await.
    """
    top = symtable.symtable(source, "<cell>", "exec")
    used: set[str] = set()
    bound: set[str] = set()
    for table in _tables(top):
        for symbol in table.get_symbols():
            if table is top or symbol.is_global():
                (used if symbol.is_referenced() else set()).add(symbol.get_name())
                if symbol.is_assigned() or symbol.is_imported() or symbol.is_namespace():
                    bound.add(symbol.get_name())
    if any(isinstance(node, ast.ImportFrom) and node.names[0].name == "*" for node in ast.walk(_parse(source))):
        return []  # a star may bind any name
    return sorted(used - bound - _GIVEN)


def _tables(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    yield table
    for child in table.get_children():
        yield from _tables(child)


def imported(source: str) -> list[str]:
    """Top-level names of the modules that the code imports, sorted.

    Args:
        source: Python, perhaps with top-level await.
    """
    names = set()
    for node in ast.walk(_parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return sorted(names)


def _parse(source: str) -> ast.AST:
    parsed: ast.AST = compile(source, "<cell>", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    return parsed
