"""Tries the guards of a running sandbox, each with a control, and says in words what is missing and what to change."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from codeexec_magic.contract import Limits, Reason, stream_text

from .outcome import Outcome

#: runs code in the sandbox: what came out, and how it ended
Runner = Callable[[str, Limits], tuple[list[dict[str, Any]], Outcome]]

_QUICK: Final = Limits(soft_s=20.0, hard_s=25.0)
_SMALL: Final = Limits(soft_s=20.0, hard_s=25.0, memory_mb=96)
#: holds memory that no limit of a single process sees
_HOLD: Final = "import mmap\nm = mmap.mmap(-1, 160 << 20)\nfor i in range(0, len(m), 4096): m[i] = 1\nprint('held')"

_REACH: Final = """
import ctypes, json, os, socket
tcp, unix, secret = json.loads({arguments!r})
def attempt(act):
    try:
        act()
        return True
    except OSError:
        return False
def unix_connect():
    socket.socket(socket.AF_UNIX).connect(unix)
def call(number, *args):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(number, *args) < 0:
        raise OSError
print(json.dumps({{
    "tcp": attempt(lambda: socket.create_connection(("127.0.0.1", tcp), 2)),
    "unix": attempt(unix_connect),
    "file": attempt(lambda: open(secret).read()),
    "write": attempt(lambda: open(secret, "a").close()),
    "namespaces": attempt(lambda: call({unshare}, 0x10000000)),
    "vsock": attempt(lambda: socket.socket(40, socket.SOCK_STREAM)),
    "signal": attempt(lambda: os.kill({pid}, 0)),
}}))
"""


def check(run: Runner, *, network: bool = False) -> dict[str, dict[str, Any]]:
    """Try from inside what must fail, having made sure that it works from outside.

    Args:
        run: runs a piece of code in the sandbox.
        network: whether the cell has the host's network, so that TCP is expected to work.

    Returns:
        for every guard ``control`` (it works without the guard) and ``refused`` (it does not with it)
    """
    with _targets() as (tcp, unix, secret):
        arguments = json.dumps([tcp, unix, secret])
        control = _from_outside(tcp, unix, secret)
        number = {"x86_64": 272}.get(os.uname().machine, 97)
        code = _REACH.format(arguments=arguments, unshare=number, pid=os.getpid())
        events, _ = run(code, _QUICK)
        try:
            reached = json.loads(stream_text(events, "stdout"))
        except ValueError:
            reached = {}
    checks = {
        name: {"control": control.get(name, True), "refused": reached.get(name) is False}
        for name in ("tcp", "unix", "file", "write", "namespaces", "vsock", "signal")
        if not (network and name == "tcp")
    }
    checks["memory"] = _memory(run)
    return checks


def failed(checks: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The guards that did not refuse."""
    words = "a cell was not refused"
    return [
        f"guard {name}: {words} ({seen})" if (seen := result.get("seen")) else f"guard {name}: {words}"
        for name, result in checks.items()
        if not result["refused"]
    ]


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


def _from_outside(tcp: int, unix: str, secret: str) -> dict[str, bool]:
    found = {}
    with socket.create_connection(("127.0.0.1", tcp), 2):
        found["tcp"] = True
    with socket.socket(socket.AF_UNIX) as local:
        local.connect(unix)
        found["unix"] = True
    found["file"] = Path(secret).read_text() == "outside"
    return found


def explain(report: Mapping[str, Any]) -> list[str]:
    """What to change on this machine for the next higher level, in words; nothing when all is there."""
    words = [f"isolation level {report.get('level', 0)} of 2"]
    missing = " ".join(str(item) for item in report.get("missing", ()))
    words += [f"missing: {item}" for item in report.get("missing", ())]
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
