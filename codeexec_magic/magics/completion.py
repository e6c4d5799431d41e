"""Tab completion on the lines of our magics: options, queues, ids, profiles, variables."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from IPython.core.completer import CompletionContext, SimpleCompletion, SimpleMatcherResult, context_matcher
from IPython.core.error import UsageError

from codeexec_magic.contract import QUEUES
from codeexec_magic.errors import CodeExecError
from codeexec_magic.magics import profiles
from codeexec_magic.magics.options import parser_of
from codeexec_magic.magics.session import Session

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

#: values worth offering; any number may be typed
_EXAMPLES = {
    "--timeout": ("30", "60", "300"),
    "--memory": ("512MB", "1GB", "2GB"),
    "--limit": ("processes=20", "tasks=512", "disk_mb=1024"),
    "--retries": ("0", "1", "3"),
}


class Completion:
    """Answers IPython's completer; knows the magics by the names a user types."""

    def __init__(self, shell: InteractiveShell, session: Session, magics: Mapping[str, Any]) -> None:
        self._shell = shell
        self._session = session
        self._magics = dict(magics)
        self._matcher = context_matcher(identifier="codeexec_magic")(lambda context: self._match(context))

    def install(self) -> None:
        """Hook into the completer."""
        self._shell.Completer.custom_matchers.append(self._matcher)

    def remove(self) -> None:
        """Unhook."""
        with contextlib.suppress(ValueError):
            self._shell.Completer.custom_matchers.remove(self._matcher)

    def _match(self, context: CompletionContext) -> SimpleMatcherResult:
        typed = context.text_until_cursor
        words = typed.split()
        current = "" if not words or typed[-1].isspace() else words.pop()
        # an unfinished name of a magic is IPython's own business
        known = bool(words) and words[0] in self._magics
        found = self._candidates(parser_of(self._magics[words[0]]), words[1:], current) if known else ()
        completions = [
            SimpleCompletion(word, type="param") for word in found if word.startswith(current) and _is_word(word)
        ]
        # nothing that Python would offer makes sense on such a line
        return {"completions": completions, "suppress": bool(completions), "matched_fragment": current, "ordered": True}

    def _candidates(self, parser: argparse.ArgumentParser, before: list[str], current: str) -> Iterable[str]:
        options = {flag: action for action in parser._actions for flag in action.option_strings}
        if before and (action := options.get(before[-1])) is not None and action.nargs != 0:
            return self._values(before[-1], action, current)
        if current.startswith("-"):
            return sorted(flag for flag in options if flag.startswith("--") or current == "-")
        found: list[str] = []
        for action in parser._actions:
            if not action.option_strings:
                found += action.choices or (self._ids() if action.dest in ("task", "tasks") else [])
        return found or sorted(flag for flag in options if flag.startswith("--"))

    def _values(self, flag: str, action: argparse.Action, current: str) -> Iterable[str]:
        if action.choices:
            return [str(choice) for choice in action.choices]
        if flag in ("-q", "--queue"):
            return self._queues()
        if flag == "--profile":
            return self._profiles()
        if flag == "--in":
            done = current.rpartition(",")[0]
            return [f"{done},{name}" if done else name for name in self._variables()]
        return _EXAMPLES.get(flag, ())

    def _queues(self) -> list[str]:
        client = self._session.known_client
        try:
            return [queue.name for queue in client.queues()] if client else list(QUEUES)
        except CodeExecError:
            return list(QUEUES)

    def _ids(self) -> list[str]:
        client = self._session.known_client
        own = [task_id[:8] for task_id in reversed(self._session.jobs)]
        try:
            others = [state.id[:8] for state in client.jobs(limit=20)] if client else []
        except CodeExecError:
            others = []
        return ["last", *dict.fromkeys([*own, *others])]

    def _variables(self) -> list[str]:
        hidden = self._shell.user_ns_hidden
        return sorted(
            name
            for name in self._shell.user_ns
            if not name.startswith("_") and name not in hidden and name.isidentifier()
        )

    @staticmethod
    def _profiles() -> list[str]:
        try:
            return sorted(profiles.profiles())
        except UsageError:
            return []


def _is_word(text: str) -> bool:
    """Whether a completion is what it looks like: names of queues and ids come from the server."""
    return text.isprintable() and len(text) <= 200 and not any(c.isspace() for c in text)
