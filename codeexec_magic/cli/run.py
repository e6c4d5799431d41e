"""``codeexec run``: a file on a worker, as if it ran here."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import click

from codeexec_magic.cli.follow import follow, outcome_line, traceback
from codeexec_magic.cli.quantity import Quantity
from codeexec_magic.cli.root import client
from codeexec_magic.cli.terminal import as_json, note
from codeexec_magic.contract import QUEUE_DEFAULT
from codeexec_magic.errors import BadOption, JobTimeout
from codeexec_magic.job import Job
from codeexec_magic.limits import named_limit
from codeexec_magic.quantities import megabytes, seconds

#: seconds a cancelled job may take to end before we leave it to the worker
CANCEL_S = 5.0


@click.command()
@click.argument("file", type=click.Path(allow_dash=True, path_type=str))
@click.option("--queue", "-q", default=QUEUE_DEFAULT, show_default=True, help="Queue to run on.")
@click.option("--timeout", type=Quantity(seconds), metavar="S", help="Soft wall limit, like 90 or 5m; hard = +30 s.")
@click.option(
    "--memory", type=Quantity(megabytes), metavar="SIZE", help="Limit of the whole process tree, like 512MB or 2GB."
)
@click.option(
    "--limit",
    "limits",
    type=Quantity(named_limit),
    multiple=True,
    metavar="NAME=N",
    help="Any other limit, like processes=20; may be repeated.",
)
@click.option(
    "--retries", type=click.IntRange(0, 100), help="Runs after a first failure [CODEEXEC_RETRIES; default: 3]."
)
@click.option("--no-cache", is_flag=True, help="Neither take nor store a cached result.")
@click.option("--refresh", is_flag=True, help="Run even if a result is cached, then cache the new one.")
@click.option("--json", "json_", is_flag=True, help="Print the result as JSON instead of the output.")
@click.pass_obj
def run(
    broker: str | None,
    file: str,
    queue: str,
    timeout: float | None,
    memory: int | None,
    limits: tuple[tuple[str, float], ...],
    retries: int | None,
    no_cache: bool,
    refresh: bool,
    json_: bool,
) -> int:
    """Run FILE (- for standard input) on a worker and stream its output.

    Exits with 0 if it succeeded, 1 if it failed, 2 if it could not be submitted. Ctrl-C cancels it and exits with 130.
    """
    if no_cache and refresh:
        raise BadOption("--no-cache and --refresh exclude each other")
    code = read_source(file)
    with client(broker) as connection:
        job = connection.submit(
            code,
            queue=queue,
            timeout=timeout,
            memory_mb=memory,
            limits=dict(limits),
            retries=retries,
            cache="off" if no_cache else "refresh" if refresh else "use",
            label="stdin" if file == "-" else Path(file).name,
        )
        try:
            if json_:
                result = follow(job, out=lambda _text, _name: None)
                as_json(result.as_dict())
            else:
                result = follow(job)
                traceback(result)
                if not result.success or sys.stderr.isatty():
                    note(outcome_line(result))
            return 0 if result.success else 1
        except KeyboardInterrupt:
            return _cancel(job)


def _cancel(job: Job) -> int:
    note("cancelling ... (again to leave at once)")
    job.cancel()
    with contextlib.suppress(JobTimeout):
        note(outcome_line(job.result(CANCEL_S)))
    return 130


def read_source(file: str) -> str:
    """The text of a file, or of standard input for ``-``.

    Raises:
        BadOption: it cannot be read, or is no text.
    """
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except OSError as err:
        raise BadOption(f"cannot read {file}: {err.strerror}") from None
    except UnicodeDecodeError:
        raise BadOption(f"{file} is not UTF-8 text") from None
