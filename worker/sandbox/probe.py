"""Tries the guards of a running sandbox, each with a control, and says in words what is missing and what to change."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from codeexec_magic.contract import Reason, stream_text
from codeexec_magic.limits import Limits

from .cell import environment
from .outcome import Outcome

#: runs code in the sandbox: what came out, and how it ended
Runner = Callable[[str, Limits], tuple[list[dict[str, Any]], Outcome]]

_QUICK: Final = Limits(soft_s=20.0, hard_s=25.0)
_SMALL: Final = Limits(soft_s=20.0, hard_s=25.0, memory_mb=96)
#: holds memory that no limit of a single process sees
_HOLD: Final = "import mmap\nm = mmap.mmap(-1, 160 << 20)\nfor i in range(0, len(m), 4096): m[i] = 1\nprint('held')"

#: what refuses each act, in words
_GUARDS: Final = {
    "tcp": "network namespace, or seccomp and Landlock",
    "unix": "mount namespace, or seccomp",
    "file": "mount namespace, or Landlock",
    "write": "mount namespace, or Landlock",
    "proc": "Landlock",
    "namespaces": "seccomp",
    "vsock": "seccomp",
    "signal": "process namespace, or own user and Landlock",
    "fds": "closing of descriptors",
    "env": "empty environment",
    "memory": "memory limit of the tree",
}
#: variables that every cell gets, whatever the worker has; Python itself sets the first
_OWN_NAMES: Final = {"LC_CTYPE", *environment.variables("", "")}
#: how long a process may take to die of a signal that was let through (seconds)
_DEATH_S: Final = 1.0
#: a descriptor above all that a clean process has
_HIGH_FD: Final = 40

#: the same acts inside, where they must fail, and outside, where they must not; needs ``targets``
_REACH: Final = """
import ctypes, json, os, socket
tcp, unix, secret, victim, names = targets
def attempt(act):
    try:
        return act() is not False
    except OSError:
        return False
def unix_connect():
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(unix)
def unshare():
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(272 if os.uname().machine == "x86_64" else 97, 0x10000000) < 0:
        raise OSError
def kill():
    # in a process namespace of its own this number may be the cell's
    if victim != os.getpid():
        os.kill(victim, 9)
def descriptor():
    for name in os.listdir("/proc/self/fd"):
        try:
            if int(name) > 3 and os.fstat(int(name)):
                return True
        except OSError:
            pass
    return False
def variable():
    with open("/proc/self/environ") as file:
        first = {item.partition("=")[0] for item in file.read().split(chr(0))}
    return any(name in os.environ or name in first for name in names)
print(json.dumps({
    "tcp": attempt(lambda: socket.create_connection(("127.0.0.1", tcp), 2).close()),
    "unix": attempt(unix_connect),
    "file": attempt(lambda: open(secret).close()),
    "write": attempt(lambda: open(secret, "a").close()),
    "proc": attempt(lambda: open("/proc/self/oom_score_adj", "a").close()),
    "vsock": attempt(lambda: socket.socket(40, socket.SOCK_STREAM).close()),
    "signal": attempt(kill),
    "fds": attempt(descriptor),
    "env": attempt(variable),
    "namespaces": attempt(unshare),
}))
"""


def check(run: Runner, *, network: bool = False) -> dict[str, dict[str, Any]]:
    """Try from inside what must fail, and the same from outside, in a process that is thrown away.

    Args:
        run: runs a piece of code in the sandbox.
        network: whether the cell has the host's network, so that TCP is expected to work.

    Returns:
        for every guard ``control`` (it works without the guard) and ``refused`` (it does not with it)

    Raises:
        OSError: the acts could not be tried outside.
    """
    with _targets() as (tcp, unix, secret):
        names = sorted(set(os.environ) - _OWN_NAMES)
        with _victim() as (pid, killed):
            events, _ = run(_code(tcp, unix, secret, pid, names), _QUICK)
            reached = _answers(stream_text(events, "stdout"))
            # the number may be another process's inside: what counts is what happened here
            reached["signal"] = "signal" not in reached or killed(reached["signal"])
        with _victim() as (pid, killed):
            control = _outside(_code(tcp, unix, secret, pid, names))
            control["signal"] = killed(control.get("signal") is True)
    checks: dict[str, dict[str, Any]] = {
        name: {"control": control.get(name) is True, "refused": reached.get(name) is False}
        for name in _GUARDS
        if name != "memory" and not (network and name == "tcp")
    }
    checks["memory"] = _memory(run)
    return checks


def failed(checks: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The guards that did not refuse."""
    return [
        f"guard {name} ({_GUARDS[name]}): a cell was not refused"
        + (f" ({seen})" if (seen := result.get("seen")) else "")
        for name, result in checks.items()
        if not result["refused"]
    ]


def unproven(checks: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The guards of which a refusal proves nothing, because what they refuse does not work here anyway."""
    return [
        f"guard {name} ({_GUARDS[name]}): not provable here, without a sandbox it does not work either"
        for name, result in checks.items()
        if result["refused"] and not result["control"]
    ]


def _code(*targets: Any) -> str:
    return f"targets = {targets!r}\n{_REACH}"


def _answers(text: str) -> dict[str, bool]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _outside(code: str) -> dict[str, bool]:
    with Path(os.devnull).open("rb") as null:
        extra = fcntl.fcntl(null, fcntl.F_DUPFD_CLOEXEC, _HIGH_FD)
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", code],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            pass_fds=(extra,),
            timeout=_QUICK.hard_s,
            check=False,
        )
    except subprocess.TimeoutExpired as err:
        raise OSError(f"the controls took longer than {err.timeout:g} s") from None
    finally:
        os.close(extra)
    answers = _answers(done.stdout.decode("utf-8", "replace"))
    if not answers:
        raise OSError(f"the controls gave no answer: {done.stderr.decode('utf-8', 'replace').strip()[-500:]}")
    return answers


@contextlib.contextmanager
def _victim() -> Iterator[tuple[int, Callable[[bool], bool]]]:
    """A process outside that may be killed: its id, and whether it was, told if a signal seemed to get through."""
    with subprocess.Popen(["/bin/sh", "-c", "read wait"], stdin=subprocess.PIPE, env={}) as process:

        def killed(sent: bool) -> bool:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_DEATH_S if sent else 0)
            return process.poll() == -signal.SIGKILL

        try:
            yield process.pid, killed
        finally:
            process.kill()


def _memory(run: Runner) -> dict[str, Any]:
    held, _ = run(_HOLD, _QUICK)
    _, outcome = run(_HOLD, _SMALL)
    result: dict[str, Any] = {
        "control": "held" in stream_text(held, "stdout"),
        "refused": outcome.reason is Reason.MEMORY,
    }
    if not result["refused"]:
        result["seen"] = outcome.verdict or outcome.reason.value
    return result


@contextlib.contextmanager
def _targets() -> Iterator[tuple[int, str, str]]:
    """A TCP listener, a unix listener and a readable file, all outside of the sandbox."""
    folder = tempfile.mkdtemp(prefix="codeexec-probe-")
    Path(folder).chmod(0o755)
    unix, secret = str(Path(folder, "socket")), str(Path(folder, "file"))
    Path(secret).write_text("outside")
    Path(secret).chmod(0o666)
    with socket.socket() as tcp, socket.socket(socket.AF_UNIX) as local:
        tcp.bind(("127.0.0.1", 0))
        local.bind(unix)
        for listener in (tcp, local):
            listener.listen()
            threading.Thread(target=_accept, args=(listener,), daemon=True).start()
        try:
            yield tcp.getsockname()[1], unix, secret
        finally:
            for listener in (tcp, local):
                with contextlib.suppress(OSError):
                    listener.shutdown(socket.SHUT_RDWR)
            Path(unix).unlink()
            Path(secret).unlink()
            Path(folder).rmdir()


def _accept(listener: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            listener.accept()[0].close()


def explain(report: Mapping[str, Any]) -> list[str]:
    """What to change on this machine for the next higher level, in words; nothing when all is there."""
    words = [f"isolation level {report.get('level', 0)} of 2"]
    missing = " ".join(str(item) for item in report.get("missing", ()))
    words += [f"missing: {item}" for item in report.get("missing", ())]
    words += unproven(report.get("checks") or {})
    if report.get("level", 0) < 2:
        words += _namespaces(missing)
    if not report.get("landlock_abi"):
        words.append("Landlock is off: it needs Linux 5.13 or later with landlock in the lsm= list of the kernel")
    if report.get("cgroup") is None:
        words.append(
            "memory is sampled: to have the kernel enforce it, delegate a control group to the worker "
            "(systemd: Delegate=yes in the unit; Docker: --cgroupns=private with a writable /sys/fs/cgroup)"
        )
    return words


def _namespaces(missing: str) -> list[str]:
    words = []
    if _setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1":
        words.append(
            "Ubuntu 24.04 keeps unprivileged users from user namespaces: give the worker's interpreter an AppArmor "
            "profile with 'userns,', or set sysctl kernel.apparmor_restrict_unprivileged_userns=0"
        )
    if _setting("/proc/sys/kernel/unprivileged_userns_clone") == "0":
        words.append("Debian's switch is off: set sysctl kernel.unprivileged_userns_clone=1")
    if _setting("/proc/sys/user/max_user_namespaces") == "0":
        words.append("no user namespaces are allowed: set sysctl user.max_user_namespaces to some thousands")
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        words.append(
            "Kubernetes: set hostUsers: false and securityContext.procMount: Unmasked, and a seccomp profile that "
            "lets unshare, mount, pivot_root, open_tree, move_mount and mount_setattr through"
        )
    elif Path("/.dockerenv").exists() or Path("/run/.containerenv").exists():
        words.append(
            "Docker: run with --security-opt seccomp=<profile that lets unshare, mount, pivot_root, open_tree, "
            "move_mount and mount_setattr through> --security-opt apparmor=<profile with userns and mount> and "
            "--security-opt systempaths=unconfined"
        )
    if "mounts:" in missing:
        words.append("mounting was refused: the container masks /proc, or the kernel is older than 5.12")
    return words


def _setting(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
