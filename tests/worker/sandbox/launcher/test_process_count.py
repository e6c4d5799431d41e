"""The count of a run's processes, with threads whose call has ended or has not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support import wait_until
from worker.sandbox.launcher.process_count import ProcessCount, Walk
from worker.sandbox.linux import procfs
from worker.sandbox.linux.user_notification import Notice

#: stands for a call that the thread is not in
_OTHER_CALL = 100_000


@pytest.fixture
def thread() -> Iterator[int]:
    """A thread that waits in one system call for the length of the test."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as waiting:
        wait_until(lambda: _call(waiting.pid) is not None, what="the thread waits in a call")
        yield waiting.pid
        waiting.kill()


def _call(pid: int) -> int | None:
    fields = procfs.read(f"/proc/{pid}/syscall").split()
    return int(fields[0]) if len(fields) > 2 and fields[0].isdigit() and fields[1] == "0x0" else None


def _notice(thread: int, number: int) -> Notice:
    return Notice(0, thread, number, ())


def _in_call(thread: int) -> Notice:
    number = _call(thread)
    assert number is not None
    return _notice(thread, number)


def test_a_process_that_is_on_its_way_counts(thread: int) -> None:
    """A call that was allowed and has not ended takes a place, although no process is seen."""
    count = ProcessCount(lambda: [1], 2)
    assert count.admit(_in_call(thread))
    assert not count.admit(_notice(os.getpid(), _OTHER_CALL))


def test_the_process_of_another_thread_does_not_stand_for_this_one(thread: int) -> None:
    """Two calls are allowed, one process appears, and the thread of that one asks again: the other is still coming."""
    processes = [1]
    count = ProcessCount(lambda: processes, 3)
    assert count.admit(_in_call(thread))
    assert count.admit(_notice(os.getpid(), _OTHER_CALL))
    processes.append(2)
    assert not count.admit(_notice(os.getpid(), _OTHER_CALL))


def test_a_thread_that_is_back_from_its_call_gives_up_its_place(thread: int) -> None:
    """A process that ended before anybody saw it takes no place once its thread does something else, or has ended."""
    count = ProcessCount(lambda: [1], 2)
    assert count.admit(_notice(thread, _OTHER_CALL))
    assert count.admit(_notice(os.getpid(), _OTHER_CALL))
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    count = ProcessCount(lambda: [1], 2)
    assert count.admit(_notice(gone.pid, _OTHER_CALL))
    assert count.admit(_notice(os.getpid(), _OTHER_CALL))


def test_processes_that_are_seen_count_once(thread: int) -> None:
    """A call whose process appeared is not counted beside its process."""
    processes = [1]
    count = ProcessCount(lambda: processes, 3)
    assert count.admit(_in_call(thread))
    processes.append(2)
    assert count.admit(_notice(os.getpid(), _OTHER_CALL))
    processes.append(3)
    assert not count.admit(_notice(os.getpid(), _OTHER_CALL))
    processes.remove(3)
    assert count.admit(_notice(os.getpid(), _OTHER_CALL))


def test_a_process_that_one_walk_misses_is_listed_until_it_is_gone(thread: int) -> None:
    """What one of two walks finds is there, and stays there while it lives although later walks miss it."""
    answers: list[list[int]] = [[], [thread], [], []]
    walk = Walk(lambda: answers.pop(0))
    assert walk() == {thread}
    assert walk() == {thread}
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    answers = [[ended.pid], [], [], []]
    walk = Walk(lambda: answers.pop(0))
    walk()
    assert walk() == set()
