"""Names of keys: spelled once, the same in Python and in the scripts."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import codeexec_magic
from codeexec_magic.store import JobStore
from codeexec_magic.store.keys import CELERY_RESULT, CONTROL, INFLIGHT, JOB, KEYS, MESSAGES, RUNNING, Namespace
from codeexec_magic.store.scripts import source

ROOT = Path(codeexec_magic.__file__).parents[1]
PYTHON = [path for name in ("codeexec_magic", "worker") for path in (ROOT / name).rglob("*.py")]
LUA = sorted((ROOT / "codeexec_magic" / "store" / "lua").glob("*.lua"))
#: what stands before a part in a key's name, such as ``job:``; and the names that no ordinary word equals
HEADS = {key.name.partition("{")[0] for key in KEYS if "{" in key.name.lstrip("{")}
WHOLE = {key.name for key in KEYS if re.search(r"[:_]", key.name) and "{" not in key.name} - {"dead_letter"}


def literals(path: Path) -> list[tuple[int, str]]:
    """Every piece of text in a Python file that is no docstring, with its line."""
    tree = ast.parse(path.read_text())
    documentation = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    return [
        (node.lineno, node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation
    ]


def names_a_key(text: str) -> bool:
    """Whether text spells a key, or begins one."""
    return bool(re.match(r"codeexec:\S*\Z", text)) or text in HEADS | WHOLE


def test_no_module_but_keys_spells_a_key() -> None:
    """Prefixes and names of keys stand in store/keys.py and nowhere else."""
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text!r}"
        for path in PYTHON
        if path.name != "keys.py" or path.parent.name != "store"
        for line, text in literals(path)
        if names_a_key(text)
    ]
    assert not found
    assert any(names_a_key(text) for _, text in literals(ROOT / "codeexec_magic" / "store" / "keys.py"))


def test_no_script_spells_a_key() -> None:
    """Scripts use the names that are defined for them, and put nothing together from the prefixes."""
    found = []
    for path in LUA:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            code = line.partition("--")[0]
            if re.search(r"\b(prefix|bare_prefix|ARGV\[[12]\])", code) or any(
                names_a_key(text) for text in re.findall(r"'([^']*)'", code)
            ):
                found.append(f"{path.name}:{number}: {line}")
    assert not found


def test_no_script_has_an_expiry_of_its_own() -> None:
    """A script takes an expiry from the table or from a setting, never from a number in its text."""
    pattern = re.compile(r"'(?:PX|EX|PEXPIRE|EXPIRE)',(?:[^,]*,)?\s*\d")
    assert not [path.name for path in LUA if pattern.search(path.read_text())]


@pytest.mark.parametrize("namespace", ["default", "team"])
def test_scripts_and_python_name_the_same_keys(store: JobStore, namespace: str) -> None:
    """Every key has one name, whoever puts it together; every fixed expiry is the table's."""
    names = Namespace(namespace)
    keys = [key for key in KEYS if key.database == "broker"]
    calls, wanted = [], []
    for key in (*keys, CONTROL):
        parts = re.findall(r"\{(\w+)\}", key.name)
        calls.append(f"{key.id}_key" + ("(" + ", ".join(f"'x{part}'" for part in parts) + ")" if parts else ""))
        wanted.append(names.key(key, *(f"x{part}" for part in parts)))
        if key.expiry_s:
            calls.append(f"tostring({key.id}_expiry)")
            wanted.append(str(round(key.expiry_s * 1000)))
    answer = store.redis.eval(f"{source('common')}\nreturn {{{', '.join(calls)}}}", 0, names.prefix, names.bare)
    assert answer == wanted


def test_only_the_default_namespace_has_bare_names() -> None:
    """Lists that Celery reads keep their bare names in the default namespace, and are apart in any other."""
    default, team = Namespace("default"), Namespace("team")
    assert default.key(MESSAGES, "code_execution") == "code_execution"
    assert team.key(MESSAGES, "code_execution") == "codeexec:team:code_execution"
    assert default.key(JOB, "1") == "codeexec:default:job:1"
    assert team.key(RUNNING) == "codeexec:team:running"
    assert team.key(CELERY_RESULT, "1") == "celery-task-meta-1"
    assert default.key(INFLIGHT, "q", r"\1{queue}", "e") == r"codeexec:default:inflight:q:\1{queue}:e"


def test_a_key_takes_exactly_its_parts() -> None:
    """A name with a part too few or too many is refused."""
    for parts in ((), ("a", "b")):
        with pytest.raises(ValueError, match=r"job:\{id\} takes 1 parts"):
            Namespace("default").key(JOB, *parts)
