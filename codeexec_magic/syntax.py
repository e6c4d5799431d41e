"""Refuse a cell that cannot parse before it is queued, with the user's line."""

from __future__ import annotations

import ast
import sys
import warnings
from importlib.util import find_spec

from codeexec_magic.errors import CodeSyntaxError


def check_syntax(code: str) -> None:
    """Check that ``code`` parses as a notebook cell: Python with top-level await, or IPython's own syntax.

    Raises:
        CodeSyntaxError: it does not; carries line, column and text.
    """
    error = _parse(code)
    if error is None:
        return
    transformed = _transform(code)
    if transformed is None or _parse(transformed) is None:
        return
    where = f" (line {error.lineno})" if error.lineno else ""
    raise CodeSyntaxError(f"{error.msg}{where}", error.lineno, error.offset, error.text) from None


def python_source(code: str) -> str | None:
    """The cell as Python; None when it is none: the body of another cell magic, or IPython's syntax without IPython.

    Args:
        code: passed :func:`check_syntax`.
    """
    source = code if _parse(code) is None else _transform(code)
    return source if source is not None and _parse(source) is None else None


def _parse(code: str) -> SyntaxError | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an odd escape is the cell's business, shown where it runs
            compile(code, "<cell>", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    except SyntaxError as err:
        return err
    except UnicodeEncodeError:
        return SyntaxError("the cell is not valid Unicode text: it holds a lone surrogate")
    except ValueError as err:
        return SyntaxError(str(err))
    except (RecursionError, MemoryError):
        return None  # too deep for this parser; the sandbox will say what it makes of it
    return None


def _transform(code: str) -> str | None:
    """The cell with IPython's syntax turned into Python; None when IPython is not there to do it."""
    # imported only for cells that plain Python refuses: the client stays light
    if "IPython" not in sys.modules and find_spec("IPython") is None:
        return None
    from IPython.core.inputtransformer2 import TransformerManager

    if code.lstrip().startswith("%%"):
        return None  # the body of another cell magic need not be Python
    try:
        return str(TransformerManager().transform_cell(code))
    except SyntaxError:
        return code
