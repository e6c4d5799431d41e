"""``python -m worker.sandbox FILE...``: run cells in a sandbox with nothing else running, one JSON result per line."""

from __future__ import annotations

import argparse
import json
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NoReturn

from codeexec_magic.contract import ExecutionResult, Reason, Status, code_hash
from codeexec_magic.errors import BadSetting, DecodeError, IsolationUnavailable, SandboxBroken
from codeexec_magic.limits import HARD_AFTER_SOFT_S, Limits
from codeexec_magic.settings import WorkerSettings

from .outcome import Outcome
from .probe import explain
from .run_handle import Cell
from .sandbox import Sandbox

_USAGE: Final = 2
_NO_ISOLATION: Final = 3
_NO_LIMIT_S: Final = 1e6
_STATUS: Final = {Reason.OK: Status.SUCCEEDED, Reason.CANCELLED: Status.CANCELLED}
#: option, limit, type, help
_LIMITS: Final = (
    ("--soft-timeout", "soft_s", float, "wall seconds until SoftTimeLimitExceeded is raised in the cell"),
    ("--hard-timeout", "hard_s", float, "wall seconds until the cell's processes are killed"),
    ("--cpu-seconds", "cpu_s", float, "processor seconds of all its processes"),
    ("--memory-mb", "memory_mb", int, "memory of all its processes"),
    ("--max-processes", "processes", int, "processes"),
    ("--max-tasks", "tasks", int, "threads of all its processes together"),
    ("--file-size-mb", "file_mb", int, "size of one file"),
    ("--disk-mb", "disk_mb", int, "size of all files"),
    ("--output-kb", "output_kb", int, "bytes kept of stdout, of stderr and of displays, each"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    parser = _parser()
    options = parser.parse_args(argv)
    try:
        settings = WorkerSettings.from_env()
        limits = _limits(options)
        codes = [_read(name) for name in options.files]
    except (BadSetting, DecodeError, OSError, UnicodeDecodeError) as err:
        parser.error(str(err))
    if options.probe:
        return _probe(settings)
    if bool(codes) is options.requests:
        parser.error("name at least one FILE, or --requests, or --probe")
    preload = settings.preload if options.preload is None else tuple(n for n in options.preload.split(",") if n)
    sandbox = Sandbox(
        slots=1,
        python=settings.python,
        preload=preload,
        required_isolation=settings.required_isolation,
        # who sends requests grants them their time, too
        ceiling=replace(limits, soft_s=_NO_LIMIT_S, hard_s=_NO_LIMIT_S) if options.requests else limits,
        limits=limits,
        fast_fork=settings.fast_fork,
    )
    try:
        sandbox.start()
    except IsolationUnavailable as err:
        print(err, file=sys.stderr)
        return _NO_ISOLATION
    except SandboxBroken as err:
        print(err, file=sys.stderr)
        return 1
    with sandbox:
        asked = _requests(limits) if options.requests else ((code, limits) for code in codes)
        for code, own in asked:
            print(json.dumps(_run(sandbox, code, own).as_dict()), flush=True)
    return 0


def _requests(limits: Limits) -> Iterator[tuple[str, Limits]]:
    """Code and limits of each line of standard input: an object with ``code`` and perhaps ``limits``."""
    for line in sys.stdin:
        request = json.loads(line)
        yield request["code"], replace(limits, **request.get("limits", {}))


def _run(sandbox: Sandbox, code: str, limits: Limits) -> ExecutionResult:
    task_id, begin, clock = str(uuid.uuid4()), _now(), time.monotonic()
    events: list[dict[str, Any]] = []
    outcome: Outcome = sandbox.run(Cell(task_id, code, limits)).wait(events.append)
    ran = round((time.monotonic() - clock) * 1000)
    end = _now()
    attempt = {"worker": None, "start": begin, "end": end, "reason": outcome.reason.value}
    return ExecutionResult(
        task_id=task_id,
        code_hash=code_hash(code),
        success=outcome.success,
        status=_STATUS.get(outcome.reason, Status.FAILED),
        reason=outcome.reason,
        returncode=outcome.returncode,
        execution_time_ms=outcome.execution_time_ms,
        memory_used_mb=outcome.memory_used_mb,
        timestamp=end,
        error=outcome.error,
        verdict=outcome.verdict,
        wait_time_ms=max(0, ran - outcome.execution_time_ms),
        attempts=(attempt,),
        limits=outcome.limits,
        isolation=outcome.isolation,
        truncated=outcome.truncated,
        left_behind=outcome.left_behind,
        outputs=tuple(events),
    )


def _probe(settings: WorkerSettings) -> int:
    sandbox = Sandbox(slots=1, python=settings.python, preload=(), required_isolation=0, fast_fork=settings.fast_fork)
    try:
        sandbox.start()
    except SandboxBroken as err:
        print(json.dumps({"level": 0, "missing": [str(err)]}, indent=2))
        return _NO_ISOLATION
    with sandbox:
        print(json.dumps({**sandbox.report, "advice": explain(sandbox.report)}, indent=2))
    return 0 if sandbox.report["level"] >= settings.required_isolation else _NO_ISOLATION


def _limits(options: argparse.Namespace) -> Limits:
    asked = {name: value for _, name, _, _ in _LIMITS if (value := getattr(options, name)) is not None}
    if "soft_s" in asked and "hard_s" not in asked:
        asked["hard_s"] = asked["soft_s"] + HARD_AFTER_SOFT_S
    if "hard_s" in asked and "soft_s" not in asked:
        asked["soft_s"] = min(Limits().soft_s, asked["hard_s"])
    return Limits(**asked)


def _read(name: str) -> str:
    return sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m worker.sandbox", description="Run cells, each in a fresh sandbox.")
    parser.add_argument("files", nargs="*", metavar="FILE", help="Python source; - reads standard input")
    parser.add_argument("--probe", action="store_true", help="print what isolation this machine gives")
    parser.add_argument(
        "--requests",
        action="store_true",
        help='run what standard input says, a line each: {"code": TEXT, "limits": {"soft_s": S, "hard_s": S}}',
    )
    parser.add_argument("--preload", metavar="a,b", help="modules to import once, before any cell")
    defaults = Limits()
    for option, name, kind, text in _LIMITS:
        shown = f"{text} ({getattr(defaults, name):g})"
        parser.add_argument(option, dest=name, type=kind, metavar="N" if kind is int else "S", help=shown)
    return parser


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(_USAGE, f"{self.prog}: {message}\n")


if __name__ == "__main__":
    sys.exit(main())
