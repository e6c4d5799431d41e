"""``%remote_queue``: the panel that submits and monitors, and its snapshot."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_magic, magics_class

from codeexec_magic.display import live_card
from codeexec_magic.display.parent_cell import ParentCell
from codeexec_magic.hostile_text import one_line
from codeexec_magic.magics import options, profiles
from codeexec_magic.magics.session import Session
from codeexec_magic.magics.watcher import Watch
from codeexec_magic.panel import options_line
from codeexec_magic.panel.dashboard import Dashboard
from codeexec_magic.store.monitor import Query, read
from codeexec_magic.store.samples import SAMPLE_S, SHOWN_S, History

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from codeexec_magic.client import Client
    from codeexec_magic.job import Job
    from codeexec_magic.magics.remote_exec import RemoteExecMagics
    from codeexec_magic.panel.panel import Panel

#: cells offered to start from, jobs remembered as this notebook's own
_CELLS, _MINE = 25, 100


@magics_class
class RemoteQueueMagics(Magics):
    """The line magic about queues."""

    def __init__(self, shell: InteractiveShell, session: Session) -> None:
        super().__init__(shell=shell)
        self.session = session

    @options.magic(
        line_magic,
        options.option(
            "--once", action="store_true", help="show how things are now, for good, instead of a live panel"
        ),
        options.option("-n", "--limit", type=options.count, default=10, help="--once: jobs to list (default 10)"),
        options.option("-q", "--queue", metavar="NAME", default="", help="--once: only jobs of this queue"),
    )
    def remote_queue(self, line: str) -> Panel | None:
        """See the queue and submit to it: depth, waits, workers, jobs, dead letters.

        ``panel = %remote_queue`` gives the panel a name: panel.job is the Job that was submitted there last,
        panel.close() ends it. In a terminal, and where nobody looks, it is shown once.
        """
        args = options.parse(self.remote_queue, options.split(line))
        parent_cell = ParentCell(self.session.shell)
        with self.session.one_line_errors():
            if args.once or not (parent_cell.attended and live_card.available()):
                self._once(parent_cell, args.limit, args.queue)
                return None
            from codeexec_magic.panel.panel import Panel

            _ = self.session.client.store  # starts the embedded cluster, and tells of a broker that is not there
            return Panel(parent_cell, Notebook(self.session, parent_cell)).show()

    def _once(self, parent_cell: ParentCell, limit: int, queue: str) -> None:
        samples = round(SHOWN_S / SAMPLE_S) + 2
        reading = read(self.session.client.store, Query(samples=samples, queue=queue, limit=limit))
        history = History()
        history.add(reading.samples, reading.sample())
        board = Dashboard(reading, history, embedded=self.session.client.embedded)
        parent_cell.publish({"text/html": board.snapshot_html(), "text/plain": board.snapshot_text()})


class Notebook:
    """What a panel may do with the notebook it stands in."""

    def __init__(self, session: Session, parent_cell: ParentCell) -> None:
        self._session, self._parent_cell = session, parent_cell

    @property
    def client(self) -> Client:
        """The cluster."""
        return self._session.client

    def mine(self) -> Sequence[str]:
        """Ids of the jobs this notebook submitted, latest first."""
        return list(reversed(self._session.jobs))[:_MINE]

    def history(self) -> Sequence[tuple[str, str]]:
        """Labels and sources of its cells, latest first; those of remote cells with their line of options."""
        manager: Any = self._session.shell.history_manager
        sources = list(enumerate(manager.input_hist_raw)) if manager is not None else []
        found = []
        for number, source in reversed(sources):
            code = body(source)
            if code.strip():
                first = next(line for line in code.splitlines() if line.strip())
                options, _ = options_line.split_source(source)
                line = f"{options_line.MAGIC} {options}\n" if options else ""
                found.append((f"[{number}] {one_line(first, 60)}", line + code))
            if len(found) == _CELLS:
                break
        return found

    def profiles(self) -> Sequence[str]:
        """Names of profiles."""
        try:
            return sorted(profiles.profiles())
        except UsageError:
            return []

    def submit(self, code: str, options: str) -> Job:
        """Queue a cell as ``%%remote_exec`` would."""
        manager: Any = self._session.shell.magics_manager
        magics: RemoteExecMagics = manager.registry["RemoteExecMagics"]
        return magics.submit(magics.parse(options), code)

    def requeue(self, task_id: str, code: str | None = None) -> Job:
        """Run an ended job again."""
        return self._session.remember(self._session.client.requeue(task_id, code))

    def drop(self, task_id: str) -> None:
        """Forget a dead letter."""
        self._session.drop(task_id, self._parent_cell)

    def watch(self, job: Job) -> Watch:
        """Follow a job."""
        return Watch(job)


def body(source: str) -> str:
    """What of a cell could run on a worker: not the line of our own magic, nothing of a cell that is only magics."""
    first, _, rest = source.lstrip().partition("\n")
    if re.match(r"%%remote_(exec|dlq)\b", first):
        return rest
    lines = [line for line in source.splitlines() if line.strip()]
    if not lines or source.lstrip().startswith("%%") or all(line.lstrip().startswith("%") for line in lines):
        return ""
    return source
