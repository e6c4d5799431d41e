"""Tab completion on the lines of our magics: options, queues, ids, profiles, variables."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from IPython.core.error import TryNext, UsageError

from codeexec_magic.contract import QUEUES
from codeexec_magic.errors import CodeExecError
from codeexec_magic.magics import profiles
from codeexec_magic.magics.options import parser_of
from codeexec_magic.magics.session import Session

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

#: values worth offering; any number may be typed
_EXAMPLES = {"--timeout": ("30", "60", "300"), "--memory": ("512MB", "1GB", "2GB"), "--retries": ("0", "1", "3")}


class Completion:
    """Answers IPython's completer; knows the magics by the names a user types."""

    def __init__(self, shell: InteractiveShell, session: Session, magics: Mapping[str, Any]) -> None:
        self._shell = shell
        self._session = session
        self._magics = dict(magics)

    def install(self) -> None:
        """Hook into the completer."""
        for name in self._magics:
            self._shell.set_hook("complete_command", self._complete, str_key=name)

    def remove(self) -> None:
        """Unhook; IPython has no call for that."""
        table = self._shell.strdispatchers.get("complete_command")
        if table is not None:
            for name in self._magics:
                table.strs.pop(name, None)

    def _complete(self, _shell: Any, event: SimpleNamespace) -> list[str]:
        # "\n" cannot be here: IPython hands over the line the cursor is on, and only ours starts with our name
        typed = event.text_until_cursor if event.text_until_cursor.strip() else event.line
        words = typed.split()
        if not words or words[0] not in self._magics:
            raise TryNext
        current = "" if typed[-1:].isspace() else words.pop()
        if not words:
            raise TryNext  # still typing the name of the magic
        found = self._candidates(parser_of(self._magics[words[0]]), words[1:], current)
        head = current[: len(current) - len(event.symbol)] if current.endswith(event.symbol) else ""
        return [word[len(head) :] for word in found if word.startswith(current)]

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
