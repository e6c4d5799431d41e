"""``--in auto``: which names a cell uses, and what is held back."""

from __future__ import annotations

import pytest
from IPython.core.interactiveshell import InteractiveShell

from codeexec_magic.magics import automatic, variables
from codeexec_magic.magics.free_names import free_names


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("x + 1", "x"),
        ("x = 1\nx + y", "y"),
        ("x = x + 1", "x"),
        ("x += 1", "x"),
        ("x: int\nx", "int x"),
        ("del x", "x"),
        ("a.b.c = d[e]", "d e a"),
        ("[i for i in xs if i > low]", "xs low"),
        ("[i for i in xs]\ni", "xs i"),
        ("{k: v for k, v in d.items()}", "d"),
        ("[y := f(i) for i in xs]\ny", "xs f"),
        ("for i in xs:\n  last = i\nlast", "xs last"),
        ("if c:\n  x = 1\nelse:\n  x = 2\nx", "c"),
        ("if c:\n  x = 1\nx", "c x"),
        ("while c:\n  c = f(c)", "c f"),
        ("try:\n  import q\nexcept ImportError as e:\n  q = None\nq", "ImportError"),
        ("with open(p) as f:\n  f.read()", "open p"),
        ("import a.b as c, d.e\nc, d, e", "e"),
        ("from m import n\nn", ""),
        ("def f(a, b=c, *d, e=g, **h):\n  return a + b + i\nf()", "c g i"),
        ("def f():\n  return later\nlater = 1\nf()", ""),
        ("def f():\n  x = 1\n  def g():\n    return x + y\n  return g", "y"),
        ("def f():\n  global z\n  z = w\nf(); z", "z w"),
        ("lambda a: a + b", "b"),
        ("@deco\nclass A(Base, key=meta):\n  x = y\n  def m(self): return x", "deco Base meta y x"),
        ("match p:\n  case {'k': v, **rest}:\n    v, rest\n  case [a, *b]:\n    a, b", "p"),
        ("async def f():\n  async with a as b:\n    await b", "a"),
        ("f'{x!r:>{width}}'", "x width"),
        ("print(x)", "print x"),
    ],
)
def test_free_names(code: str, names: str) -> None:
    """Exactly those that must exist before the code runs, in the order of their use."""
    assert free_names(code) == names.split()


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("password", "x", True),
        ("API_KEY", "x", True),
        ("aws_secret", {"a": 1}, True),
        ("token2", "x", True),
        ("tokens", 5, False),
        ("tokenize", "x", False),
        ("bypass", "x", False),
        ("author", "x", False),
        ("key", "x", False),
        ("url", "redis://user:pw@host/0", True),
        ("url", "https://host/path@2", False),
        ("config", {"db": {"password": "x"}}, True),
        ("config", {"db": {"password": ""}}, False),
        ("x", ["a", "AKIA" + "A" * 16], True),
        ("x", b"-----BEGIN RSA PRIVATE KEY-----", True),
        ("x", "ghp_" + "a" * 36, True),
        ("text", "a sentence about tokens and passwords", False),
    ],
)
def test_what_looks_like_a_credential(name: str, value: object, secret: bool) -> None:
    """By name and by form; ordinary names and texts go."""
    assert automatic.looks_secret(name, value) is secret


def test_the_choice_is_told() -> None:
    """What goes along stands on a line with its size; what is held back has a line with the reason and the way."""
    shell = InteractiveShell()
    shell.user_ns |= {"a": 1, "big": bytes(3 << 20), "api_key": "k", "gen": (i for i in "")}
    shell.user_ns["unused"] = 2
    choice = automatic.choose("a + len(big), api_key, gen, In, get_ipython, nothing", shell, 1 << 20)
    assert list(choice.values) == ["a"]
    first, *held = choice.lines({"api_key": "k"})
    assert first.startswith("--in auto: a (")
    assert held[0] == "held back: big is 3 MB; --in auto,big sends it"
    assert held[1].startswith("held back: gen cannot be sent: gen is a generator, which cannot be pickled")
    assert len(held) == 2


def test_a_name_error_says_that_the_notebook_has_the_name() -> None:
    """Only if it has, and did not send it."""
    from codeexec_magic.errors import RemoteError

    def traceback(sent: list[str]) -> list[str]:
        error = RemoteError("NameError", "name 'df' is not defined", ["NameError"])
        variables.hint(error, {"df": 1}, sent)
        return error.traceback

    assert traceback([])[1:] == ["note: df exists in this notebook; send it with --in df, or --in auto"]
    assert traceback(["df"]) == ["NameError"]
