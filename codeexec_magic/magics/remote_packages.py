"""``%remote_packages``: what the cells of a queue can import."""

from __future__ import annotations

from typing import TYPE_CHECKING

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_magic, magics_class

from codeexec_magic.contract import QUEUE_DEFAULT
from codeexec_magic.hostile_text import one_line
from codeexec_magic.magics import options
from codeexec_magic.magics.session import Session

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


@magics_class
class RemotePackagesMagics(Magics):
    """The line magic about packages."""

    def __init__(self, shell: InteractiveShell, session: Session) -> None:
        super().__init__(shell=shell)
        self.session = session

    @options.magic(
        line_magic,
        options.option("name", nargs="?", default="", help="packages whose name has this in it (default: all)"),
        options.option("-q", "--queue", metavar="NAME", default=QUEUE_DEFAULT, help="queue (default code_execution)"),
    )
    def remote_packages(self, line: str) -> None:
        """List the Python version and the installed packages of the workers of a queue."""
        args = options.parse(self.remote_packages, options.split(line))
        with self.session.one_line_errors():
            about = self.session.client.packages(args.queue)
            if about is None:
                raise UsageError(f"no worker of {one_line(args.queue, 40)} has said what it has")
        wanted = args.name.lower().replace("_", "-")
        found = {name: about.packages[name] for name in about.packages if wanted in name.lower().replace("_", "-")}
        print(f"Python {one_line(about.python)} on {one_line(args.queue, 40)}")
        for name in sorted(found, key=str.lower):
            print(f"{one_line(name, 60)} {one_line(found[name], 40)}")
        if not found:
            raise UsageError(f"no package of {one_line(args.queue, 40)} has {one_line(args.name, 60)} in its name")
