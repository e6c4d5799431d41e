"""Code of ours that runs in a sandbox before a cell, and leaves the cell's line numbers as they are."""

from __future__ import annotations

import ast
from typing import Any, Final

from codeexec_magic.syntax import python_source

_VARIABLE: Final = "codeexec_prelude"


def with_prelude(code: str, prelude: str, data: Any) -> tuple[str, dict[str, Any]]:
    """The cell to submit, and the inputs that go with it.

    The prelude travels as an input and is called on the cell's first line. Where Python allows nothing before the first
    statement on its line (a function, say), the cell begins one line later than it did.

    Args:
        code: the cell.
        prelude: Python; it finds ``data`` in ``prelude_data``.
        data: a JSON value.
    """
    call = f'exec({_VARIABLE}["code"])'
    wrapped = f'prelude_data = {_VARIABLE}["data"]\ndel {_VARIABLE}\n{prelude}\ndel prelude_data\n'
    inputs = {_VARIABLE: {"code": wrapped, "data": data}}
    first, _, rest = code.partition("\n")
    if not first.strip() or first.startswith("#"):
        return f"{call}\n{rest}", inputs
    if python_source(code) == code and _starts_simple(code):
        return f"{call}; {code}", inputs
    return f"{call}\n{code}", inputs


def _starts_simple(code: str) -> bool:
    """Whether another statement may stand before the first one on its line."""
    tree: ast.Module = compile(code, "<cell>", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    compound = hasattr(tree.body[0], "body") or isinstance(tree.body[0], ast.Match)
    future = isinstance(tree.body[0], ast.ImportFrom) and tree.body[0].module == "__future__"
    return not compound and not future
