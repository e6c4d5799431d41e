"""Put the magics into a shell, and take them out again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from codeexec_magic.magics.completion import Completion
from codeexec_magic.magics.remote_dlq import RemoteClusterMagics
from codeexec_magic.magics.remote_exec import RemoteExecMagics
from codeexec_magic.magics.remote_jobs import RemoteJobMagics
from codeexec_magic.magics.remote_packages import RemotePackagesMagics
from codeexec_magic.magics.remote_queue import RemoteQueueMagics
from codeexec_magic.magics.session import Session

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

_CLASSES = (RemoteExecMagics, RemoteJobMagics, RemoteClusterMagics, RemoteQueueMagics, RemotePackagesMagics)
#: one session per shell; embedding programs may have several
_sessions: dict[int, tuple[Session, Completion]] = {}


def register(shell: InteractiveShell) -> None:
    """Register all magics and their completion."""
    unregister(shell)
    session = Session(shell)
    magics = [kind(shell, session) for kind in _CLASSES]
    shell.register_magics(*magics)
    completion = Completion(shell, session, {name: f for one in magics for name, f in _functions(one)})
    completion.install()
    _sessions[id(shell)] = (session, completion)


def unregister(shell: InteractiveShell) -> None:
    """Remove what :func:`register` added; harmless when there is nothing."""
    session, completion = _sessions.pop(id(shell), (None, None))
    if session is None or completion is None:
        return
    completion.remove()
    session.close()
    names = {kind.__name__ for kind in _CLASSES}
    for table in shell.magics_manager.magics.values():
        for name in [name for name, function in table.items() if type(_owner(function)).__name__ in names]:
            del table[name]
    for name in names:
        shell.magics_manager.registry.pop(name, None)
    shell.configurables[:] = [one for one in shell.configurables if type(one).__name__ not in names]


def _functions(magics: Any) -> list[tuple[str, Any]]:
    """The magics of one object, each under the names a user types."""
    found = []
    for kind, escape in (("line", "%"), ("cell", "%%")):
        for name, function in magics.magics[kind].items():
            found.append((escape + name, function))
    return found


def _owner(function: Any) -> Any:
    return getattr(function, "__self__", None)
