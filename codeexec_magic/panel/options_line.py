"""Options of ``%%remote_exec`` as a line: from a request, and taken apart for the fields of a form. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from codeexec_magic.contract import DEFAULT_LIMITS, ExecutionRequest
from codeexec_magic.hostile_text import one_line
from codeexec_magic.limits import Limits

#: The magic under which a cell stands.
MAGIC = "%%remote_exec"
_DEFAULT = ExecutionRequest("", "")


def of_request(request: ExecutionRequest) -> str:
    """The options with which a cell was submitted; those that have their default are left out, the queue is not."""
    limits, usual = request.limits, DEFAULT_LIMITS.get(request.queue, Limits())
    words = ["--queue", one_line(request.queue)]
    if limits.soft_s != usual.soft_s:
        words += ["--timeout", f"{limits.soft_s:g}"]
    if limits.memory_mb != usual.memory_mb:
        words += ["--memory", f"{limits.memory_mb}MB"]
    if request.retries != _DEFAULT.retries:
        words += ["--retries", str(request.retries)]
    if request.retry_waits_s != _DEFAULT.retry_waits_s:
        words += ["--retry-waits", ",".join(f"{wait:g}" for wait in request.retry_waits_s)]
    words += {"off": ["--no-cache"], "refresh": ["--refresh"]}.get(request.cache, [])
    words += ["--network"] if request.network else []
    names = [name for name in request.inputs if name.isidentifier()]
    words += ["--in", ",".join(names)] if names else []
    outputs = [name for name in request.outputs if name.isidentifier()]
    words += ["--out", ",".join(outputs)] if outputs else []
    return shlex.join(words)


def take(line: str, flags: Sequence[str], switches: Sequence[str]) -> tuple[dict[str, str], str]:
    """Some options of a line, and the rest of it.

    Args:
        line: options as they stand behind the magic.
        flags: options with a value to take.
        switches: options without one; their value is themselves.

    Returns:
        The values by option, and what is left.
    """
    try:
        words = shlex.split(line)
    except ValueError:  # a quote that is not closed: whoever submits it is told so
        return {}, line
    taken: dict[str, str] = {}
    rest: list[str] = []
    while words:
        word = words.pop(0)
        flag, equals, value = word.partition("=")
        flag = "--queue" if flag == "-q" else flag
        if flag in switches and not equals:
            taken[flag] = flag
        elif flag in flags and (equals or words):
            taken[flag] = value if equals else words.pop(0)
        else:
            rest.append(word)
    return taken, shlex.join(rest)


def split_source(source: str) -> tuple[str | None, str]:
    """The options on a cell's first line and the code below; None for a cell without our magic."""
    first, _, rest = source.lstrip().partition("\n")
    name, _, options = first.strip().partition(" ")
    return (options.strip(), rest) if name == MAGIC else (None, source)
