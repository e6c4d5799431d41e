"""The command group and the one place that turns errors into a line and an exit status."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from codeexec_magic.errors import CodeExecError
from codeexec_magic.hostile_text import one_line
from codeexec_magic.version import __version__

if TYPE_CHECKING:
    from codeexec_magic.client import Client

#: commands, their modules and their help; modules are imported when the command runs, so that ``--help`` is quick
COMMANDS: Final = {
    "demo": ("demo", "See the main things happen: stream, table, error, cache, a limit."),
    "lab": ("services", "Open JupyterLab on the notebooks."),
    "run": ("run", "Run a Python file on a worker, as if it ran here."),
    "jobs": ("monitor", "List the latest jobs."),
    "queue": ("monitor", "Show queues and workers."),
    "dlq": ("dlq", "Look after dead letters: jobs that gave up for good."),
    "keys": ("keys", "Show what is kept in the server, and what bounds it."),
    "mcp": ("mcp", "Give an agent tools to run code, by the Model Context Protocol."),
    "metrics": ("metrics", "Serve the cluster's figures to Prometheus."),
    "worker": ("services", "Run a supervised worker."),
    "cluster": ("services", "Start, stop and look at the embedded cluster."),
    "doctor": ("doctor", "Check this machine and say what to change."),
}


class Commands(click.Group):
    """Knows all commands by name, and loads one only to run it."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 -- click's
        """In the order of the table above."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 -- click's
        """Load one."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"codeexec_magic.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Suggest the nearest name for an unknown one."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], COMMANDS, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(COMMANDS)}"
            ctx.fail(f"unknown command {args[0]!r}: {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 -- click's
        """List them without loading them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=Commands, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="codeexec", message="%(prog)s %(version)s")
@click.option("--broker", metavar="URL", help="Cluster to use [CELERY_BROKER_URL; default: the embedded one].")
@click.pass_context
def cli(ctx: click.Context, broker: str | None) -> None:
    """Run Python cells on Celery workers, each in a fresh resource-limited sandbox."""
    ctx.obj = broker
    help_if_alone(ctx)


class Steps(click.Group):
    """A command with commands of its own, listed in the order in which they are written."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 -- click's
        """As they are written."""
        return list(self.commands)


def help_if_alone(ctx: click.Context) -> None:
    """What a group does that was given no command: the same as ``codeexec`` alone."""
    if ctx.invoked_subcommand is None:
        from codeexec_magic.cli.terminal import echo

        echo(ctx.get_help())


def client(broker: str | None) -> Client:
    """A client for ``--broker``, or for what the environment says; reports the start of the embedded cluster."""
    from codeexec_magic.cli.terminal import Progress
    from codeexec_magic.client import Client

    return Client(broker, progress=Progress())


def call(args: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        Exit status: the command's own, 2 for bad input or an unusable cluster, 130 after Ctrl-C.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal that cannot show a glyph is no reason to fail
            stream.reconfigure(errors="replace")
    try:
        status: Any = cli.main(args, prog_name="codeexec", standalone_mode=False)
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except click.ClickException as err:
        return _fail(err.format_message())
    except CodeExecError as err:
        return _fail(str(err))
    except (click.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        # the reader has seen enough; Python would complain once more when it flushes at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _fail(message: str) -> int:
    from codeexec_magic.cli.terminal import echo

    echo(f"codeexec: error: {one_line(message, 2000)}", err=True)
    return 2


def main() -> None:
    """The console script."""
    sys.exit(call())
