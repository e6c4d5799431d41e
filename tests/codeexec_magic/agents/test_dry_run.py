"""What a look at code finds."""

from __future__ import annotations

import pytest

from codeexec_magic.agents.dry_run import free_names, imported


@pytest.mark.parametrize(
    ("code", "needs"),
    [
        ("print(a)", ["a"]),
        ("a = 1\nprint(a, __name__, display)", []),
        ("def f(x):\n    return x + y\n", ["y"]),
        ("def f():\n    global g\n    g = 1\nprint(g)", []),
        ("[i for i in range(3)] + [j for j in data]", ["data"]),
        ("class A:\n    b = 1\n    c = b + d\n", ["d"]),
        ("x += 1", []),
        ("import os.path as p, sys\nfrom math import pi\np, sys, pi, os", ["os"]),
        ("await thing()\nasync for a in source: pass", ["source", "thing"]),
        ("from math import *\nprint(sin(1))", []),
        ("try:\n    1\nexcept E as e:\n    print(e)", ["E"]),
        ("lambda q: q * r", ["r"]),
        ("match v:\n    case [a, *b]: print(a, b)", ["v"]),
        ("with f() as (h, k): h, k", ["f"]),
        ("def outer():\n    v = 1\n    def inner():\n        return v, w\n    return inner", ["w"]),
    ],
)
def test_names_that_must_exist_before(code: str, needs: list[str]) -> None:
    """Used somewhere, bound nowhere, and no builtin."""
    assert free_names(code) == needs


def test_modules_that_are_imported() -> None:
    """Their top-level names, wherever the import stands."""
    assert imported("import a.b, c as d\ndef f():\n    from e.f import g\n    from . import h\nawait x") == [
        "a",
        "c",
        "e",
    ]
