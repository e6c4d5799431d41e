"""Variables of the notebook on their way to a cell and back."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, MutableMapping, Sequence
from difflib import get_close_matches
from typing import Any

from IPython.core.error import UsageError

from codeexec_magic.contract import ExecutionResult
from codeexec_magic.errors import CodeExecError, RemoteError


def collect(names: Sequence[str], namespace: Mapping[str, Any]) -> dict[str, Any]:
    """The variables called ``names``.

    Raises:
        UsageError: one does not exist.
    """
    found: dict[str, Any] = {}
    for name in names:
        if name not in namespace:
            near = get_close_matches(name, [key for key in namespace if not key.startswith("_")], 1)
            raise UsageError(f"--in {name}: no such variable" + (f"; did you mean {near[0]}?" if near else ""))
        found[name] = namespace[name]
    return found


def bring_back(names: Iterable[str], result: ExecutionResult, namespace: MutableMapping[str, Any]) -> list[str]:
    """Bind the values that came back; for each of those that did not, one line that says why.

    Args:
        names: the variables that were asked for.
        result: of a cell that succeeded.
        namespace: where they are bound.
    """
    reasons = []
    for name in names:
        try:
            namespace[name] = result.values[name]
        except (CodeExecError, ImportError) as err:
            reasons.append(f"--out {name}: {err}")
        except KeyError:
            reasons.append(f"--out {name}: the cell returned no value of this name")
    return reasons


def hint(error: RemoteError, namespace: Mapping[str, Any], sent: Collection[str]) -> None:
    """Have a NameError of a cell say that the notebook has this variable.

    Args:
        error: of the cell; its traceback gets another line.
        namespace: of the notebook.
        sent: the variables that the cell had.
    """
    found = (
        re.fullmatch(r"name '(\w+)' is not defined.*", error.evalue, re.DOTALL) if error.ename == "NameError" else None
    )
    if found is not None and found[1] in namespace and found[1] not in sent:
        error.traceback.append(f"note: {found[1]} exists in this notebook; send it with --in {found[1]}, or --in auto")
