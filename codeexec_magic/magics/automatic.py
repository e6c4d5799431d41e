"""``--in auto``: the variables that a cell uses, but for what looks like a credential or is large."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from codeexec_magic.errors import BadValue
from codeexec_magic.hostile_text import one_line
from codeexec_magic.magics.free_names import free_names
from codeexec_magic.quantities import size_text
from codeexec_magic.values.ref import ValueRef
from codeexec_magic.values.send import prepare

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

_NAME: Final = re.compile(
    r"(?i)(^|_)(pass(word|wd|phrase)?|secrets?|tokens?|api_?keys?|credentials?|(private|access|auth)_?keys?|auth|pwd)(_|$|\d)"
)
#: how keys of well-known services, private keys, tokens and URLs with a password begin
_TEXT: Final = re.compile(
    r"(AKIA|ASIA)[0-9A-Z]{16}|gh[pousr]_\w{20,}|github_pat_\w{20,}|sk-[\w-]{16,}|xox[abprs]-[\w-]{10,}|glpat-[\w-]{16,}"
    r"|hf_\w{20,}|AIza[\w-]{30,}|eyJ[\w-]{10,}\.[\w-]{10,}\.|-----BEGIN [A-Z ]*PRIVATE KEY|[a-z][a-z0-9+.-]*://[^\s/:@]*:[^\s/@]+@"
)


@dataclass
class Choice:
    """What goes along, and what does not."""

    values: dict[str, Any] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    held_back: dict[str, str] = field(default_factory=dict)  #: reason by name

    def lines(self, named: Mapping[str, Any]) -> Iterator[str]:
        """What to tell: the transfer set with sizes, then what is held back and how to send it all the same.

        Args:
            named: variables that are sent because they were named.
        """
        sent = [f"{name} ({size_text(size)})" for name, size in self.sizes.items() if name not in named]
        yield f"--in auto: {', '.join(sent) or 'nothing'}"
        for name, reason in self.held_back.items():
            if name not in named:
                yield f"held back: {name} {reason}; --in auto,{name} sends it"


def choose(code: str, shell: InteractiveShell, limit: int) -> Choice:
    """The variables that a cell uses.

    Args:
        code: the cell, without IPython syntax.
        shell: of the notebook.
        limit: size from which a value is held back (bytes).
    """
    choice = Choice()
    try:
        names = free_names(code)
    except (SyntaxError, ValueError, RecursionError):
        return choice  # the submission says what is wrong
    hidden = shell.user_ns_hidden
    for name in names:
        if name not in shell.user_ns or (name in hidden and hidden[name] is shell.user_ns[name]):
            continue
        value = shell.user_ns[name]
        if looks_secret(name, value):
            choice.held_back[name] = "looks like a credential"
            continue
        try:
            prepared = prepare(value, name)
        except BadValue as err:
            choice.held_back[name] = f"cannot be sent: {one_line(err, 200)}"
            continue
        if not isinstance(prepared, ValueRef) and prepared.size > limit:
            choice.held_back[name] = f"is {size_text(prepared.size)}"
            continue
        choice.values[name], choice.sizes[name] = prepared, prepared.size
    return choice


def looks_secret(name: str, value: Any) -> bool:
    """Whether a variable looks like a credential: by its name, or by a text in it that has the form of one.

    Args:
        name: of the variable.
        value: the variable.
    """
    if isinstance(value, ModuleType) or callable(value):
        return False
    if _NAME.search(name) and isinstance(value, str | bytes | dict | list | tuple):
        return True
    return any(_TEXT.search(text) for text in _texts(value))


def _texts(value: Any, depth: int = 0) -> Iterator[str]:
    """Texts in a value, as far as a short look finds them."""
    if isinstance(value, str):
        yield value[:100_000]
    elif isinstance(value, bytes):
        yield value[:100_000].decode("latin-1")
    elif isinstance(value, dict) and depth < 3:
        for key, item in list(value.items())[:1000]:
            if isinstance(key, str) and _NAME.search(key) and isinstance(item, str) and item:
                yield "-----BEGIN PRIVATE KEY"
            yield from _texts(item, depth + 1)
    elif isinstance(value, list | tuple | set | frozenset) and depth < 3:
        for item in list(value)[:1000]:
            yield from _texts(item, depth + 1)
