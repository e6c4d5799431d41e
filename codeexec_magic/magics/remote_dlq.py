"""``%remote_dlq`` and ``%remote_cluster``: dead letters, and the embedded cluster."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_cell_magic, line_magic, magics_class

from codeexec_magic.display import render, tables
from codeexec_magic.display.parent_cell import ParentCell
from codeexec_magic.display.sanitize import Policy
from codeexec_magic.display.theme import plural
from codeexec_magic.errors import JobNotFound
from codeexec_magic.hostile_text import one_line, printed_text
from codeexec_magic.job import Job
from codeexec_magic.magics import options
from codeexec_magic.magics.session import Session

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from codeexec_magic.store.dead_letters import DeadLetter


@magics_class
class RemoteClusterMagics(Magics):
    """Line magics about the cluster as a whole."""

    def __init__(self, shell: InteractiveShell, session: Session) -> None:
        super().__init__(shell=shell)
        self.session = session

    @options.magic(
        line_cell_magic,
        options.option(
            "action",
            nargs="?",
            default="list",
            choices=["list", "show", "requeue", "edit", "drop", "purge"],
            help="what to do",
        ),
        options.option(
            "task",
            nargs="?",
            help="task id, its first characters, a variable that holds a Job, or last; default: the newest",
        ),
        options.option("-a", "--no-wait", action="store_true", help="requeue: return at once"),
    )
    def remote_dlq(self, line: str, cell: str | None = None) -> None:
        """Dead letters: jobs that gave up for good.

        list, show ID, requeue ID, edit ID (opens a new cell), drop ID, purge. With code below it,
        ``%%remote_dlq requeue ID`` runs the job again with that code.
        """
        args = options.parse(self.remote_dlq, options.split(line))
        with self.session.one_line_errors():
            if args.action == "list":
                letters = self.session.client.dead_letters()
                self._show(tables.dead_letters_html(letters), tables.dead_letters_text(letters))
            elif args.action == "purge":
                if args.task:
                    raise UsageError("purge drops all dead letters and takes no id; drop ID drops one")
                print(f"{plural(self.session.client.purge_dead_letters(), 'dead letter')} dropped")
            else:
                self._one(args.action, self._letter(args.task), cell, no_wait=args.no_wait)

    @options.magic(
        line_magic,
        options.option(
            "action",
            nargs="?",
            default="status",
            choices=["start", "stop", "restart", "status", "logs"],
            help="what to do (default: status)",
        ),
        options.option("-n", "--lines", type=options.count, default=50, help="logs: lines of each (default 50)"),
        options.option("--now", action="store_true", help="stop, restart: do not wait for cells that run"),
    )
    def remote_cluster(self, line: str) -> None:
        """The embedded cluster of this user: a private server and a worker, shared by all kernels."""
        args = options.parse(self.remote_cluster, options.split(line))
        from codeexec_magic import local
        from codeexec_magic.local import shutdown

        with self.session.one_line_errors():
            if not self.session.client.embedded and args.action != "status":
                raise UsageError("CELERY_BROKER_URL names another cluster: this magic controls the embedded one only")
            if args.action in ("stop", "restart"):
                self.session.close()
                stopped = shutdown.stop(0.0 if args.now else shutdown.GRACE_S, print)
                if args.action == "stop" or stopped.interrupted or stopped.waiting:
                    print(f"embedded cluster: {stopped}")
            if args.action in ("start", "restart"):
                local.ensure(print)
            if args.action == "logs":
                print(printed_text(local.logs(args.lines)))
            elif args.action != "stop":
                self._status()

    def _status(self) -> None:
        from codeexec_magic import local

        client = self.session.client
        if not client.embedded:
            print(repr(client))
        else:
            status = local.status()
            print(
                f"embedded cluster: {status['state']}"
                + (f" ({one_line(status['error'], 400)})" if status.get("error") else "")
            )
            if status["state"] != "ready":
                return
            print(f"  {plural(status['slots'], 'slot')}, up for {status['uptime_s']:.0f} s, {status['directory']}")
        for queue in client.queues():
            waiting, served = plural(queue.depth, "job"), plural(queue.listeners, "worker")
            print(f"  {one_line(queue.name, 40)}: {waiting} waiting, {served}")

    def _letter(self, task: str | None) -> DeadLetter:
        client = self.session.client
        if task:
            # letters outlive the records of their jobs, so an id is looked for among the letters only
            named = task == "last" or isinstance(self.session.shell.user_ns.get(task), Job)
            return client.dead_letter(self.session.find(task).id if named else task)
        newest = client.dead_letters(limit=1)
        if not newest:
            raise JobNotFound("there is no dead letter")
        return newest[0]

    def _one(self, action: str, letter: DeadLetter, cell: str | None, *, no_wait: bool) -> None:
        name = render.short(letter.task_id)
        if action == "show":
            self._show(tables.dead_letter_html(letter), tables.dead_letter_text(letter))
        elif action == "drop":
            self.session.drop(letter.task_id, ParentCell(self.session.shell))
            print(f"dead letter {name} dropped")
        elif action == "edit":
            self.session.shell.set_next_input(f"%%remote_dlq requeue {shlex.quote(name)}\n{letter.code}")
        else:
            job = self.session.remember(self.session.client.requeue(letter.task_id, cell))
            if no_wait:
                print(f"requeued task {name} to {one_line(job.queue, 40)}")
                self.session.follow_behind(job, Policy(), ParentCell(self.session.shell))
            else:
                self.session.wait_here(job, Policy(), on_interrupt="cancel")

    def _show(self, html: str, text: str) -> None:
        ParentCell(self.session.shell).publish({"text/html": html, "text/plain": text})
