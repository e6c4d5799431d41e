"""The launcher: one clean process per worker that runs cells in standbys and ends them.

Started by exec with an empty environment and a single inherited descriptor. One thread, one selector, timers from the
monotonic clock. The worker's end of a run closing kills that run; the control socket closing kills everything.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
import traceback
from collections import deque
from functools import partial
from typing import Any, Final, NoReturn

from ..linux import syscalls
from ..protocol import messages
from .event_loop import Loop, has_data, hung_up
from .pool import TRIES, StandbyPool
from .process_tree import ProcessTree
from .run import Run
from .zygote_client import ZygoteFailed

_MESSAGE: Final = 1 << 16
#: how long a cell runs undisturbed before the standby that replaces its own is made beside it (seconds)
_UNDISTURBED_S: Final = 0.005


class Launcher:
    """Owns the standbys and the runs."""

    def __init__(self, control: socket.socket, config: messages.LauncherConfig) -> None:
        """Prepare; :meth:`run` starts.

        Args:
            control: socket to the worker.
            config: from the worker.
        """
        self._control, self._config = control, config
        self._loop = Loop()
        self._standbys = StandbyPool(config, self._loop, self)
        self._runs: list[Run] = []
        self._waiting: deque[Run] = deque()
        self._refill_at = float("inf")
        self._report: dict[str, Any] = {}
        self._environment = ""  #: fingerprint of the cells' interpreter and libraries
        self._told = False  #: the worker knows that the first standby is ready

    def run(self) -> NoReturn:
        """Start the zygote, tell the worker, serve it until it goes."""
        try:
            self._report, self._environment = self._standbys.start()
        except (OSError, ZygoteFailed, messages.BadMessage) as err:
            self.send(messages.Broken(str(err)))
            os._exit(1)
        self._loop.watch(self._control, self._on_control)
        self._standbys.refill()
        while True:
            self._turn()

    def send(self, message: messages.LauncherReady | messages.Broken) -> None:
        """Tell the worker, if there still is one."""
        with contextlib.suppress(OSError):
            self._control.send(messages.encode(message))

    def _quit(self) -> NoReturn:
        self._standbys.close()
        os._exit(0)

    # -- runs ----------------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        self._loop.turn(min([self._refill_at, *(run.deadline() for run in self._runs)]))
        now = time.monotonic()
        for run in list(self._runs):
            run.tick(now)
            self._settle(run)
        if now >= self._refill_at:
            self._refill()

    def _refill(self) -> None:
        self._refill_at = float("inf")
        self._standbys.refill(asked=True)

    def _settle(self, run: Run) -> None:
        """Keep the interest in a run's socket right, and drop runs that are told."""
        if run.kill_reason and run.tree is None and not run.done:
            self._waiting.remove(run)
            run.fail("", self._report)
        if run.done and not run.writing:
            self._forget(run)
        elif run in self._runs:
            self._loop.change(run.sock, lambda: self._on_run(run), writable=run.writing)

    def _forget(self, run: Run) -> None:
        if run in self._runs:
            self._runs.remove(run)
            self._loop.forget(run.sock)
            run.close()

    def _on_control(self) -> None:
        try:
            data, fds, _, _ = socket.recv_fds(self._control, _MESSAGE, 3, socket.MSG_CMSG_CLOEXEC)
        except OSError:
            data, fds = b"", []
        if not data:
            self._quit()
        run = Run(socket.socket(fileno=fds[0]), fds[1:], sample_memory=not self._config.weakening.memory)
        self._runs.append(run)
        self._loop.watch(run.sock, lambda: self._on_run(run))
        self._on_run(run, data)

    def _on_run(self, run: Run, start: bytes = b"") -> None:
        """Take what the worker sent of a run; the start of the request came with its socket."""
        fresh = run.request is None
        if not (run.take(start) if start else run.read()):
            # the worker died or lost interest: nobody is left to tell
            run.done = True
            run.kill()
            if run in self._waiting:
                self._waiting.remove(run)
            self._forget(run)
            return
        run.flush()
        if fresh and run.request is not None:
            self._waiting.append(run)
            self._dispatch()
            if run in self._waiting:
                self._refill()

    def _dispatch(self) -> None:
        for run in list(self._waiting):
            assert run.request is not None
            tree = self._standbys.fitting(run, run.request)
            if tree is None:
                continue
            self._waiting.remove(run)
            try:
                run.start(tree, self._standbys.tasks(run.request.limits))
            except OSError as err:
                run.fail(f"the standby did not take the code: {err}", self._report)
                self._standbys.broken(tree, str(err))
                continue
            for name in ("events", "stdout", "stderr"):
                self._loop.watch(tree.fds[name], partial(self._on_output, run))
            if run.supervisor:
                self._loop.watch(tree.listener, partial(self._on_call, run))
            # most cells are short: making another standby would compete with this one for the processor
            self._refill_at = min(self._refill_at, time.monotonic() + _UNDISTURBED_S)

    def _on_output(self, run: Run) -> None:
        if run.tree is None:
            return
        if run.done:
            # what the cell left running may go on writing for the moment until it is dead
            self._loop.forget(*run.tree.fds.values())
            return
        run.collect()
        for fd in run.tree.fds.values():
            # a pipe at its end stays readable for ever; init's report of the death is what ends the run
            if hung_up(fd):
                self._loop.forget(fd)

    def _on_call(self, run: Run) -> None:
        """A system call of the cell waits for an answer."""
        assert run.tree is not None
        assert run.supervisor is not None
        if has_data(run.tree.listener):
            run.supervisor.answer()
        else:
            self._loop.forget(run.tree.listener)  # everybody who could call is dead

    def _run_of(self, tree: ProcessTree) -> Run | None:
        return next((run for run in self._runs if run.tree is tree), None)

    def _give_up(self, run: Run, why: str) -> None:
        run.fail(why, self._report)
        self._settle(run)

    # -- what the standbys tell -----------------------------------------------------------------------------------

    def on_ready(self, tree: ProcessTree) -> None:
        """Tell the worker, once, with what the first standby found to be really on; then use it."""
        if not self._told:
            self._report |= tree.guards
            if not tree.guards["landlock_abi"] and not self._config.weakening.landlock:
                # without it a level keeps only what the next lower one promises
                self._report["level"] -= 1
                self._report["missing"].append("landlock: the kernel has none")
            self.send(messages.LauncherReady(self._report, self._environment))
            self._told = True
        self._dispatch()

    def on_failed(self, tree: ProcessTree) -> None:
        """A run that needed this very tree gets another, a few times."""
        waiting = tree.spec.run
        if isinstance(waiting, Run) and waiting in self._waiting:
            waiting.tries += 1
            if waiting.tries >= TRIES:
                self._waiting.remove(waiting)
                self._give_up(waiting, tree.problem)

    def on_hopeless(self, why: str) -> None:
        """No tree can be made: at the start the launcher ends, later every run that waits fails."""
        if not self._told:
            self.send(messages.Broken(why))
            self._quit()
        while self._waiting:
            self._give_up(self._waiting.popleft(), why)

    def on_broken(self, tree: ProcessTree) -> None:
        """A run's tree lost what it was promised: the run ends."""
        run = self._run_of(tree)
        if run:
            run.kill()

    def on_cell_end(self, tree: ProcessTree) -> None:
        """Answer at once: that need not wait until the kernel has taken the namespaces apart, nor compete with it."""
        run = self._run_of(tree)
        quiet = not any(has_data(fd) for fd in tree.fds.values())
        if not quiet:
            tree.kill()  # what the cell left may write faster than anybody reads
        if run:
            run.finish(self._report, quiet=quiet)
            self._settle(run)
        tree.kill()
        if run:
            self._refill()

    def on_gone(self, tree: ProcessTree) -> bool:
        """Answer, if that was not done before."""
        run = self._run_of(tree)
        if run is None:
            return False
        run.finish(self._report)
        self._settle(run)
        return True

    def on_free(self) -> None:
        """Use what there is, make what there is room for."""
        self._dispatch()
        self._standbys.refill()

    def on_lost(self) -> NoReturn:
        """Without a zygote there is nothing to do here; the worker starts another launcher."""
        self._quit()


def main() -> NoReturn:
    """Entry point: descriptor of the control socket and configuration come as arguments."""
    syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    control = socket.socket(fileno=int(sys.argv[1]))
    config = messages.decode(sys.argv[2].encode("utf-8", "surrogatepass"))
    assert isinstance(config, messages.LauncherConfig)
    launcher = Launcher(control, config)
    try:
        launcher.run()
    except Exception:
        launcher.send(messages.Broken(traceback.format_exc()[-4000:]))
        os._exit(1)
