"""``codeexec worker``, ``codeexec cluster`` and ``codeexec lab``: things that run for a while."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import logging
import os
import shutil
import sys
from pathlib import Path
from typing import Final, NoReturn

import click

from codeexec_magic import quantities
from codeexec_magic.broker_url import BrokerURL, redact
from codeexec_magic.cli.quantity import Quantity
from codeexec_magic.cli.root import Steps, help_if_alone
from codeexec_magic.cli.terminal import Progress, as_json, echo, line, note, seconds
from codeexec_magic.errors import BadOption, ClusterError
from codeexec_magic.settings import WorkerSettings
from codeexec_magic.version import __version__

#: where a wheel's notebooks are installed, below the environment
SHARED: Final = "share/codeexec-magic/notebooks/"


@click.command()
@click.option("--queues", "-Q", metavar="A,B", help="Queues to serve [CODEEXEC_QUEUES; default: code_execution].")
@click.option("--slots", "-c", type=click.IntRange(1, 1024), help="Cells at a time [CODEEXEC_SLOTS; default: CPUs].")
@click.option("--events", "-E", is_flag=True, help="Send Celery's task events, for Flower [CODEEXEC_EVENTS].")
@click.option("--name", "-n", help="Node name before the @; must differ between workers of a host.")
@click.option(
    "--loglevel",
    type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"], case_sensitive=False),
    default="INFO",
    show_default=True,
)
@click.pass_obj
def worker(
    broker: str | None, queues: str | None, slots: int | None, events: bool, name: str | None, loglevel: str
) -> int:
    """Run a worker and start it again whenever it dies.

    Ctrl-C lets it finish what it runs; a second one ends it at once. Without a broker it joins the embedded cluster.
    """
    from codeexec_magic.supervisor import supervise, worker_command

    env = dict(os.environ)
    url, backend = _broker(broker)
    env["CELERY_BROKER_URL"], env["CELERY_RESULT_BACKEND"] = url, backend
    if queues:
        env["CODEEXEC_QUEUES"] = queues
    if slots:
        env["CODEEXEC_SLOTS"] = str(slots)
    if events:
        env["CODEEXEC_EVENTS"] = "1"
    settings = WorkerSettings.from_env(env)  # says here what the worker would say again and again
    if not settings.queues:
        raise BadOption("--queues names no queue")
    if name is not None and not all(c.isalnum() or c in "-_." for c in name):
        raise BadOption(f"--name {name!r}: use letters, digits, '-', '_' and '.' only")
    level = loglevel.upper()
    logging.basicConfig(level=level, format="[%(asctime)s: %(levelname)s/Supervisor] %(message)s", stream=sys.stderr)
    logging.getLogger("codeexec.supervisor").info("broker %s", redact(url))
    command = worker_command(slots=settings.slots, queues=settings.queues, name=name, loglevel=level)
    return supervise(command, env)


def _broker(broker: str | None) -> tuple[str, str]:
    if broker:
        url = BrokerURL.parse(broker).check_files()
        return url.url, url.with_database(1).url
    settings = WorkerSettings.from_env()
    if settings.broker_url:
        url = BrokerURL.parse(settings.broker_url).check_files()
        results = BrokerURL.parse(settings.result_backend).check_files() if settings.result_backend else None
        return url.url, (results or url.with_database(1)).url
    from codeexec_magic import local

    found = local.find()
    if found is None:
        raise ClusterError(
            "no broker: give --broker URL or set CELERY_BROKER_URL (the embedded cluster, which brings a worker of "
            "its own, is not running)"
        )
    return found.broker_url, found.result_backend


@click.group(cls=Steps, invoke_without_command=True)
@click.pass_context
def cluster(ctx: click.Context) -> None:
    """Start, stop and look at the embedded cluster: a private server and a worker of your own."""
    help_if_alone(ctx)


@cluster.command()
def start() -> None:
    """Start it, if it does not run."""
    from codeexec_magic import local

    echo(f"running: {local.ensure(Progress()).broker_url}")


@cluster.command()
@click.option("--now", is_flag=True, help="Do not wait for the cells that run; they start again after the next start.")
@click.option("--grace", type=Quantity(quantities.seconds), metavar="S", help="Time for running cells [default: 10].")
def stop(now: bool, grace: float | None) -> None:
    """Stop it. Cells that run get some time to finish; jobs that have not ended are kept for the next start."""
    from codeexec_magic.local import shutdown

    if now and grace is not None:
        raise BadOption("--now and --grace exclude each other")
    grace_s = 0.0 if now else shutdown.GRACE_S if grace is None else grace
    echo(str(shutdown.stop(grace_s, note)))


@cluster.command()
def restart() -> None:
    """Stop it and start it again."""
    from codeexec_magic import local
    from codeexec_magic.local import shutdown

    stopped = shutdown.stop(progress=note)
    if stopped.interrupted or stopped.waiting:
        note(str(stopped))
    echo(f"running: {local.ensure(Progress()).broker_url}")


@cluster.command()
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
def status(json_: bool) -> None:
    """Say how it stands."""
    from codeexec_magic import local

    shown = local.status()
    if json_:
        as_json(shown)
        return
    for name, value in shown.items():
        if isinstance(value, list):
            value = ", ".join(map(str, value))
        elif name.endswith("_s"):
            name, value = name.removesuffix("_s"), seconds(value)
        echo(f"{name.replace('_', ' '):<18} {line(value)}")


@cluster.command()
@click.option("--lines", "-n", type=click.IntRange(1, 100_000), default=50, show_default=True, help="Of each log.")
def logs(lines: int) -> None:
    """Print the end of its logs."""
    from codeexec_magic import local

    echo(local.logs(lines) or "no logs: it has never run", nl=False)


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def lab(broker: str | None, arguments: tuple[str, ...]) -> NoReturn:
    """Open JupyterLab on the notebooks. ARGUMENTS go to JupyterLab, like --no-browser."""
    if importlib.util.find_spec("jupyterlab") is None:
        raise ClusterError("JupyterLab is not installed: pip install 'codeexec-magic[lab]'")
    if broker:
        os.environ["CELERY_BROKER_URL"] = BrokerURL.parse(broker).url
    folder = notebooks()
    if folder is None:
        raise ClusterError("the notebooks are not installed: pip install --force-reinstall codeexec-magic")
    echo(f"JupyterLab on {folder}", err=True)
    sys.stderr.flush()
    command = [sys.executable, "-m", "jupyterlab", *arguments, str(folder)]
    os.execv(sys.executable, command)  # noqa: S606 -- no shell is the point


def notebooks() -> Path | None:
    """The notebooks of a checkout, else the user's own copy of the installed ones, made when it is absent."""
    root = Path(__file__).parents[2]
    if (root / "notebooks").is_dir() and (root / "pyproject.toml").is_file():
        return root / "notebooks"
    shipped = [file for file in importlib.metadata.files("codeexec-magic") or () if SHARED in file.as_posix()]
    if not shipped:
        return None
    data = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    folder = Path(data) / "codeexec-magic" / f"notebooks-{__version__}"
    for file in shipped:
        copy = folder / file.as_posix().partition(SHARED)[2]
        if not copy.exists():  # what the user changed stays
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(Path(str(file.locate())), copy)
    return folder
