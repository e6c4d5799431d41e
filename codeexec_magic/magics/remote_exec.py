"""``%%remote_exec``: run the cell on a worker."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import traitlets
from IPython.core.error import UsageError
from IPython.core.magic import Magics, cell_magic, magics_class

from codeexec_magic.contract import QUEUE_DEFAULT, ExecutionResult
from codeexec_magic.display import render
from codeexec_magic.display.parent_cell import ParentCell
from codeexec_magic.display.sanitize import HtmlMode, Policy
from codeexec_magic.errors import CodeExecError, RemoteError
from codeexec_magic.hostile_text import one_line
from codeexec_magic.magics import automatic, options, profiles, variables
from codeexec_magic.magics.session import Session

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from codeexec_magic.job import Job


@magics_class
class RemoteExecMagics(Magics):
    """What ``%%remote_exec`` does when its line does not say; change it with ``%config RemoteExecMagics.queue = …``."""

    queue = traitlets.Unicode(QUEUE_DEFAULT, help="queue to run on").tag(config=True)
    timeout = traitlets.Float(None, allow_none=True, help="soft time limit in seconds; None: the queue's").tag(
        config=True
    )
    memory = traitlets.Unicode("", help="memory limit such as 512MB; empty: the queue's").tag(config=True)
    retries = traitlets.Int(None, min=0, allow_none=True, help="runs after one that hit a limit; None: 3").tag(
        config=True
    )
    cache = traitlets.Enum(["use", "refresh", "off"], "use", help="what to do with cached results").tag(config=True)
    wait = traitlets.Bool(True, help="whether the cell waits for its job").tag(config=True)
    html = traitlets.Enum([str(mode) for mode in HtmlMode], "clean", help="how HTML from a cell is shown").tag(
        config=True
    )
    on_interrupt = traitlets.Enum(["cancel", "detach"], "cancel", help="what Stop does to the job").tag(config=True)
    auto_mb = traitlets.Int(32, min=1, help="size above which --in auto holds a variable back, in MB").tag(config=True)
    profile = traitlets.Unicode("", help="profile whose options apply to every cell").tag(config=True)

    def __init__(self, shell: InteractiveShell, session: Session) -> None:
        super().__init__(shell=shell)
        self.session = session

    @options.magic(cell_magic, *options.REMOTE_EXEC, name="%remote_exec")
    def remote_exec(self, line: str, cell: str) -> None:
        """Run this cell on a worker, in a fresh sandbox, and show it here as if it had run here.

        The cell waits, shows output as it comes, displays its last expression and raises the remote error; Stop
        cancels it. The variable _remote is the Job.

        Examples::

            %%remote_exec --timeout 20 --memory 512MB
            %%remote_exec --no-wait --as job
            %%remote_exec --in a,b --out result
            %%remote_exec --in auto --download figures/*.png
        """
        args = self.parse(line)
        policy = Policy(HtmlMode(args.html or self.html))
        parent_cell = ParentCell(self.session.shell)
        with self.session.one_line_errors():
            job = self.submit(args, cell)
            if args.bind:
                self.session.shell.user_ns[args.bind] = job
            if args.no_wait or not self.wait:
                name = render.short(job.id)
                print(f"submitted task {name} to {one_line(job.queue, 40)} (%remote_attach {name}, %remote_wait)")
                self.session.follow_behind(job, policy, parent_cell, lambda result: self._bind(args, job, result))
                return
            interrupt = args.on_interrupt or self.on_interrupt
            try:
                result = self.session.wait_here(job, policy, on_interrupt=interrupt)
            except RemoteError as err:
                variables.hint(err, self.session.shell.user_ns, sent=args.inputs or ())
                raise
        if reasons := self._bind(args, job, result):
            raise UsageError("; ".join(reasons))

    def parse(self, line: str) -> argparse.Namespace:
        """The options that hold: those on the line, else the profile's.

        Raises:
            UsageError: one line that says what is wrong.
        """
        argv = options.split(line)
        hint = "only options stand on this line; the code goes below it"
        args = options.parse(self.remote_exec, argv, positional=hint)
        name = args.profile or self.profile
        if name:
            bundle, where = profiles.profile(name)
            first = options.as_argv({key: value for key, value in bundle.items() if key != "profile"}, where)
            try:
                args = options.parse(self.remote_exec, [*first, *argv])
            except UsageError as err:
                raise UsageError(f"{where}: {err}") from None
        return args

    def submit(self, args: argparse.Namespace, cell: str) -> Job:
        """Queue the cell.

        Raises:
            CodeExecError: it was not accepted.
            UsageError: an option or a variable is of no use.
        """
        inputs = self._inputs(args, cell)
        memory = args.memory
        if memory is None and self.memory:
            memory = _trait_size(self.memory)
        job = self.session.client.submit(
            cell,
            queue=args.queue or self.queue,
            timeout=args.timeout or self.timeout,
            memory_mb=memory,
            limits=dict(args.limits or ()),
            retries=self.retries if args.retries is None else args.retries,
            retry_waits=args.retry_waits,
            cache=args.cache or self.cache,
            network=args.network,
            inputs=inputs,
            outputs=tuple(dict.fromkeys(args.outputs or ())),
            uploads=args.uploads or (),
            downloads=args.downloads or (),
        )
        return self.session.remember(job)

    def _inputs(self, args: argparse.Namespace, cell: str) -> dict[str, Any]:
        """The variables to send; with ``auto`` those that the cell uses, and a line that says which."""
        shell = self.session.shell
        names = list(dict.fromkeys(args.inputs or []))
        if "auto" not in names or "auto" in shell.user_ns:
            return variables.collect(names, shell.user_ns)
        named = variables.collect([name for name in names if name != "auto"], shell.user_ns)
        chosen = automatic.choose(shell.transform_cell(cell), shell, self.auto_mb << 20)
        for line in chosen.lines(named):
            print(line)
        return {**chosen.values, **named}

    def _bind(self, args: argparse.Namespace, job: Job, result: ExecutionResult) -> list[str]:
        """Bind variables and write files; what did not come back, a line each."""
        names: list[str] = args.outputs or []
        namespace: dict[str, Any] = self.session.shell.user_ns
        reasons = variables.bring_back(dict.fromkeys(names), result, namespace) if result.success else []
        for pattern in dict.fromkeys(args.downloads or ()):
            if pattern in result.value_problems:
                reasons.append(f"--download {pattern}: {result.value_problems[pattern]}")
                continue
            try:
                job.download(pattern, to=Path(args.to).expanduser(), overwrite=args.overwrite)
            except CodeExecError as err:
                reasons.append(f"--{err}")
        return reasons


def _trait_size(text: str) -> int:
    try:
        return options.memory_mb(text)
    except argparse.ArgumentTypeError as err:
        raise UsageError(f"%config RemoteExecMagics.memory: {err}") from None
