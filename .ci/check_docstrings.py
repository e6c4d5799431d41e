"""Every test says in one sentence which promise it checks."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

bare = [
    f"{path}:{node.lineno} {node.name}"
    for path in sorted(Path("tests").rglob("test_*.py"))
    for node in ast.walk(ast.parse(path.read_text()))
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    and node.name.startswith("test_")
    and not ast.get_docstring(node)
]
if bare:
    sys.exit("tests without a docstring:\n" + "\n".join(bare))
