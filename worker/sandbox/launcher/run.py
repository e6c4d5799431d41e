"""One run, as the launcher sees it: the worker's end, the limits, and the evidence for the verdict."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import time
from pathlib import Path
from typing import Any, Final

from ..linux import accounting, disk, file_locks
from ..protocol import framing, messages
from .output import Collector
from .process_tree import ProcessTree, State, TaskLimits
from .supervisor import Supervisor

#: how long atexit handlers and threads may go on after the cell has ended (seconds)
EXIT_GRACE_S: Final = 1.0
#: how long output is held back, so that what follows at once, the end for one, goes with it (seconds)
_TOGETHER_S: Final = 0.002
#: how often what the kernel does not limit is measured (seconds)
SAMPLE_S: Final = 0.04
#: how long killing may take before it is done by force, then given up (seconds)
_KILL_S: Final = 3.0
#: file locks that a cell may hold at a time
_MOST_LOCKS: Final = 4096
#: reads at the end; what the cell left running could otherwise be read for ever
_FINAL_ROUNDS: Final = 64


class Run:
    """From the request to the evidence that is sent back."""

    def __init__(self, sock: socket.socket, fds: list[int], *, sample_memory: bool = True) -> None:
        self.sock = sock
        self._fds = fds  #: what the worker sent for the cell: memory with its inputs, a pipe for what it returns
        self._sample_memory = sample_memory
        sock.setblocking(False)
        self._decoder = framing.Decoder()
        self._out = bytearray()
        self.request: messages.RunCell | None = None
        self.tree: ProcessTree | None = None
        self.kill_reason: str | None = None  #: what the launcher killed for
        self.detail: dict[str, Any] = {}
        self.collector: Collector | None = None
        self.soft_sent = self.done = False
        self._asked = self._started = self._ended = 0.0
        self._next_sample = self._kill_by = self._grace_end = 0.0
        self._flush_by = float("inf")  #: when output that was held back goes out
        self.supervisor: Supervisor | None = None
        self._next_events = 0.0  #: until then events wait for others that they can be joined with
        self._peak = 0
        self._full = ""  #: which limit of disk space was last seen used up
        self._cpu = 0.0
        self.tries = 0  #: trees made for this run that broke
        self.token = secrets.token_hex(16)

    def read(self) -> bool:
        """Take what the worker sent; false when it is gone."""
        try:
            while data := self.sock.recv(1 << 20):
                if not self.take(data):
                    return False
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def take(self, data: bytes) -> bool:
        """Understand what the worker sent; false when it is nothing a worker sends."""
        try:
            for message in self._decoder.feed(data):
                if isinstance(message, messages.RunCell):
                    self.request, self._asked = message, time.monotonic()
                elif isinstance(message, messages.CancelRun):
                    self.stop(message.reason)
        except messages.BadMessage:
            return False
        return True

    def start(self, tree: ProcessTree, tasks: TaskLimits) -> None:
        """Hand the code to a standby and start the clocks.

        Args:
            tree: is ready.
            tasks: of this run; those of the standby may differ.

        Raises:
            OSError: the standby is gone.
        """
        assert self.request is not None
        self.tree = tree
        request, limits = self.request, self.request.limits
        self.collector = Collector(limits.output_kb << 10, self.token)
        if tree.group and (limits.memory_mb, tasks.tree) != (tree.spec.limits.memory_mb, tree.spec.tasks.tree):
            tree.group.limit(limits.memory_mb, tasks.tree)
        code = messages.CellCode(
            request.code, request.outputs, request.downloads, request.descriptors, limits, tasks.user, self.token
        )
        tree.hand_over(code, self._fds)
        self._close_fds()  # the pipe ends when the cell does
        if tree.listener >= 0:
            self.supervisor = Supervisor(tree, limits.processes)
        self._started = time.monotonic()
        self._next_sample = self._started + SAMPLE_S

    def stop(self, reason: str, **detail: Any) -> None:
        """Kill the tree; the first reason stands."""
        if self._ended or self.done:
            return
        if self.kill_reason is None:
            self.kill_reason, self.detail = reason, {**detail, "after_s": self._elapsed()}
        self.kill()

    def kill(self) -> None:
        """End the tree, for a reason already noted or because the cell has ended."""
        if self.tree and self.tree.state is State.RUNNING:
            self._kill_by = time.monotonic() + _KILL_S
            self.tree.kill()

    def collect(self, *, final: bool = False, rounds: int = 1) -> None:
        """Read what lies in the pipes: the channel first, because the cell waits for the others to be empty.

        Args:
            final: nothing will be read after this.
            rounds: how often at most, if there is more each time.
        """
        assert self.tree is not None
        assert self.collector is not None
        for _ in range(rounds):
            chunks, _ = self.tree.read("events")
            for chunk in chunks:
                self.collector.packet(chunk)
            seen = bool(chunks)
            for stream in ("stdout", "stderr"):
                chunks, _ = self.tree.read(stream)
                for chunk in chunks:
                    self.collector.raw(stream, chunk)
                seen = seen or bool(chunks)
            if not seen:
                break
        if final:
            self.collector.finish()
        elif (name := self.collector.flooded) is not None:
            self.stop("output", stream=name, bytes=self.collector.bytes_of(name))
        if self.collector.end is not None and not self._grace_end:
            self._ended = time.monotonic()
            self._grace_end = self._ended + EXIT_GRACE_S
        self._pass_on(at_once=final)

    def _pass_on(self, *, at_once: bool = False) -> None:
        """Send the events that wait, unless the last ones went out a moment ago: then they wait to be joined."""
        assert self.collector is not None
        now = time.monotonic()
        if not self.collector.waiting or (now < self._next_events and not at_once):
            return
        self._next_events = now + self.collector.window_s
        for event in self.collector.take():
            self._out += framing.encode(messages.OutputEvent(event))
        if self._out and self._flush_by == float("inf"):
            self._flush_by = time.monotonic() + _TOGETHER_S

    def tick(self, now: float) -> None:
        """Do what is due."""
        if now >= self._flush_by:
            self.flush()
        if self.collector is not None and not self.done:
            self._pass_on()
        tree = self.tree
        if tree is None or self.request is None or self.done:
            return
        if self.supervisor:
            self.supervisor.tick(now)
        if tree.state is State.ENDING:
            if self._kill_by and now > self._kill_by:
                self._kill_by = now + _KILL_S
                tree.kill_hard()
            return
        self._check_time(tree, now, self.request.limits)
        if now >= self._next_sample:
            before = time.process_time()
            self._sample(tree, self.request.limits)
            # measuring must not become the load: it takes at most a third of a processor
            self._next_sample = time.monotonic() + max(SAMPLE_S, 3 * (time.process_time() - before))

    def _check_time(self, tree: ProcessTree, now: float, limits: messages.CellLimits) -> None:
        elapsed = now - self._started
        if self._grace_end:
            if now > self._grace_end:
                self.kill()
        elif elapsed >= limits.hard_s:
            self.stop("timeout")
        elif elapsed >= limits.soft_s and not self.soft_sent:
            self.soft_sent = True
            self.detail = {"after_s": elapsed}
            tree.interrupt()

    def deadline(self) -> float:
        """When :meth:`tick` has something to do next."""
        if self.tree is None or self.request is None or self.done:
            return self._flush_by
        waiting = self.collector is not None and self.collector.waiting
        due = min(self._flush_by, self._next_events) if waiting else self._flush_by
        if self.tree.state is State.ENDING:
            return min(due, self._kill_by or float("inf"))
        limits = self.request.limits
        wall = limits.hard_s if self.soft_sent else limits.soft_s
        calls = self.supervisor.deadline() if self.supervisor else float("inf")
        return min(due, calls, self._next_sample, self._grace_end or self._started + wall)

    def _sample(self, tree: ProcessTree, limits: messages.CellLimits) -> None:
        pids = tree.pids()
        counted = tree.group.cpu() if tree.group else 0.0
        self._cpu = max(tree.meter.read(tree.init_pid, pids), counted) - tree.cpu_before
        if self._cpu > limits.cpu_s:
            self.stop("cpu", cpu_s=self._cpu)
        if tree.group is None and self._sample_memory:
            used = accounting.memory(pids, tree.scratch) + tree.kernel_memory()
            self._peak = max(self._peak, used)
            if self._peak > limits.memory_mb << 20:
                self.stop("memory")
        self._full = accounting.full(tree.scratch, ("disk_mb", "shm_mb")) or self._full
        self._sample_locks(tree, pids)
        if tree.home:
            self._sample_disk(Path(tree.home), pids, limits)

    def _sample_locks(self, tree: ProcessTree, pids: list[int]) -> None:
        """Locks by ``fcntl`` need nobody's leave; the kernel knows no limit of them, and takes them on any file."""
        own, locks = file_locks.devices(tree.scratch), file_locks.held(set(pids))
        if len(locks) > _MOST_LOCKS:
            self.stop("signal", locks=f"more than {_MOST_LOCKS} file locks")
        for pid, device, inode in locks[:_MOST_LOCKS]:
            if not (file_locks.inside(pid, device, inode, tree.home) if tree.home else device in own):
                self.stop("signal", locks="a lock on a file that is not the cell's own")

    def _sample_disk(self, home: Path, pids: list[int], limits: messages.CellLimits) -> None:
        try:
            size, count = disk.measure(home, limits.inodes)
            size += disk.removed(pids, home, limits.file_mb << 20)
        except disk.Unmeasurable:
            self.stop("disk", full="hidden")
        except OSError:
            return  # the run's end has removed it
        else:
            if size > limits.disk_mb << 20 or count > limits.inodes:
                full = "inodes" if count > limits.inodes else "disk_mb"
                self.stop("disk", disk_mb=size >> 20, files=count, full=full)

    def finish(self, environment: dict[str, Any], *, quiet: bool = False) -> None:
        """The cell's process is dead: read the rest and send the evidence.

        Args:
            environment: the isolation there is.
            quiet: the pipes were empty after its death.
        """
        if self.done:
            return
        self.done = True
        evidence = self._evidence(environment)
        if self.tree is not None and self.collector is not None:
            self.collect(final=True, rounds=1 if quiet else _FINAL_ROUNDS)
            end = self.collector.end
            evidence = evidence._replace(
                end=None if end is None else end._replace(token=""), truncated=self.collector.truncated()
            )
            if evidence.kill is None and self.collector.flooded == "end":  # the process was gone before it was killed
                evidence = evidence._replace(
                    kill="output", detail={"stream": "end", "bytes": self.collector.bytes_of("end")}
                )
        self._send(evidence)

    def _evidence(self, environment: dict[str, Any]) -> messages.Evidence:
        tree, now = self.tree, time.monotonic()
        evidence = messages.Evidence(
            kill=self.kill_reason,
            soft=self.soft_sent,
            detail=self.detail,
            isolation=environment,
            elapsed_s=(self._ended or now) - self._started if self._started else 0.0,
            start_s=self._started - self._asked if self._started else None,
            cpu_s=max(0.0, self._cpu),
            cut=bool(self._grace_end and now > self._grace_end),
        )
        if tree is None:
            return evidence
        group = tree.group
        return evidence._replace(
            status=tree.status,
            problem=tree.problem,
            init_died=tree.init_died,
            oom_kills=group.oom_kills() if group else 0,
            processes_refused=self.supervisor.refused if self.supervisor else None,
            tasks_refused=group.forks_refused() if group else None,
            full=accounting.full(tree.scratch, ("disk_mb", "shm_mb")) or self._full,
            peak=group.peak() if group else max(self._peak, tree.growth),
            isolation={**environment, **tree.guards, **({"network": "host"} if tree.spec.network else {})},
        )

    def fail(self, text: str, environment: dict[str, Any]) -> None:
        """It cannot run."""
        if not self.done:
            self.done = True
            self._send(self._evidence(environment)._replace(problem=text))

    def _send(self, message: messages.Message) -> None:
        self._out += framing.encode(message)
        self.flush()

    def flush(self) -> None:
        """Write what the worker will take."""
        self._flush_by = float("inf")
        with contextlib.suppress(OSError):
            while self._out:
                sent = self.sock.send(self._out)
                del self._out[:sent]

    @property
    def writing(self) -> bool:
        """Whether something waits for the worker to read on."""
        return bool(self._out) and self._flush_by == float("inf")

    def _elapsed(self) -> float:
        return time.monotonic() - self._started if self._started else 0.0

    def close(self) -> None:
        """Drop the worker's end."""
        self._close_fds()
        with contextlib.suppress(OSError):
            self.sock.close()

    def _close_fds(self) -> None:
        for fd in self._fds:
            os.close(fd)
        self._fds = []
