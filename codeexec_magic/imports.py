"""The modules that a cell cannot do without."""

from __future__ import annotations

import ast


def needed_modules(code: str) -> list[str]:
    """Top-level names of the modules that the code imports whatever happens, in order.

    Imports in functions, branches and ``try`` may not happen or may fail; they are not among them. Neither is any
    import of code that has IPython's syntax, or that changes where modules are found.

    Args:
        code: the cell.
    """
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    if any(text in code for text in ("sys.path", "sys.modules", "site.addsitedir", "importlib", ".py")):
        return []
    found: list[str] = []
    for statement in tree.body:
        if isinstance(statement, ast.Import):
            found += [alias.name.partition(".")[0] for alias in statement.names]
        elif isinstance(statement, ast.ImportFrom) and not statement.level and statement.module:
            found.append(statement.module.partition(".")[0])
    return list(dict.fromkeys(found))
