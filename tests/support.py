"""Helpers that several test modules use."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from codeexec_magic.errors import ServerNotFound
from codeexec_magic.local import server
from codeexec_magic.supervisor import die_with_parent
from worker import sandbox

T = TypeVar("T")


def wait_until(predicate: Callable[[], T], timeout: float = 10.0, what: str = "the condition") -> T:
    """Poll until ``predicate`` returns something true and return that.

    Raises:
        AssertionError: it did not within ``timeout`` seconds.
    """
    deadline = time.monotonic() + timeout
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {timeout:g} s")
        time.sleep(0.01)


def missing(what: str) -> None:
    """Skip the test for want of ``what``; in CI that is a failure, so that a green run hides nothing."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} is missing")
    pytest.skip(f"{what} is missing")


def terminal_screen(written: str) -> list[str]:
    """What a terminal shows after this, by lines; knows the few sequences that we use."""
    lines, row, column = [""], 0, 0
    position = 0
    while position < len(written):
        char = written[position]
        position += 1
        if char == "\n":
            row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
        elif char == "\r":
            column = 0
        elif char == "\x1b":
            end = next(i for i in range(position + 1, len(written)) if written[i].isalpha())
            number, kind = int(written[position + 1 : end]), written[end]
            position = end + 1
            if kind == "K":
                lines[row] = ""
            else:
                row += number if kind == "B" else -number
                assert 0 <= row < len(lines), "the cursor left what was written"
        else:
            lines[row] = lines[row][:column].ljust(column) + char + lines[row][column + 1 :]
            column += 1
    assert not any(lines[row + 1 :]), "something stands below the cursor"
    return lines[: row + 1]


def process_alive(pid: int) -> bool:
    """Whether the process runs; a zombie nobody reaped counts as gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")


def processes_mentioning(text: str) -> dict[int, str]:
    """Pid and command line of every live process whose command line or environment contains ``text``."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid() or not process_alive(int(entry.name)):
            continue
        try:
            line = (entry / "cmdline").read_bytes()
            environment = (entry / "environ").read_bytes()
        except OSError:
            continue  # gone meanwhile, or not ours
        if text.encode() in line or text.encode() in environment:
            found[int(entry.name)] = line.replace(b"\0", b" ").decode(errors="replace").strip()
    return found


def descendants(pid: int) -> set[int]:
    """Live processes that ``pid`` started, and those they started, and so on."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and process_alive(int(entry.name)):
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue  # gone meanwhile
    found: set[int] = set()
    while more := {child for child, parent in parents.items() if parent in {pid, *found}} - found:
        found |= more
    return found


class PrivateServer:
    """A plain Valkey or Redis on a unix socket in ``directory``; data survives :meth:`kill` and :meth:`start`."""

    def __init__(self, directory: Path) -> None:
        self.socket = server.check_socket_path(directory / "s.sock")
        self.url = server.url(self.socket, 0)
        self.backend_url = server.url(self.socket, 1)
        self._directory = directory
        self._binary = server.find_binary()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the running server."""
        assert self._process is not None
        return self._process.pid

    def start(self, data: Path | None = None) -> PrivateServer:
        """Start it, perhaps with its data in another folder, and wait until it answers."""
        command = server.command(self._binary, socket_path=self.socket, data=data or self._directory)
        with (self._directory / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                # the server writes its title over its environment, by which the watchdog would find it
                preexec_fn=die_with_parent() if threading.current_thread() is threading.main_thread() else None,
            )
        wait_until(self._answers, 60, "the test server's PONG")
        return self

    def stop(self) -> None:
        """Shut it down; harmless when it does not run."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it as a crash would."""
        self._end(signal.SIGKILL)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._directory / "server.log").read_text()
        return server.ping(self.socket)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(60)
            self._process = None


def private_server(directory: Path) -> PrivateServer:
    """A started :class:`PrivateServer`; the test is skipped (in CI: fails) when there is no server binary."""
    try:
        return PrivateServer(directory).start()
    except ServerNotFound:
        missing("a server binary")
        raise


#: registers the package without the rest of the project, as the zygote has it
_FRESH = f"""
import ctypes, gc, json, os, sys, types
package = types.ModuleType("sandbox"); package.__path__ = [{str(Path(sandbox.__file__).parent)!r}]
sys.modules["sandbox"] = package
from sandbox.fastfork import call_chain, mappings, memfd_heap, prefault
from sandbox.linux import syscalls
"""


def in_fresh_interpreter(code: str) -> Any:
    """What the code, which has the zygote's modules, prints as JSON: from a fresh interpreter, that may break."""
    command = [sys.executable, "-I", "-S", "-c", _FRESH + code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)
