"""What a killed launcher left is found by its mark and removed."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from support import wait_until

from worker.sandbox import cleanup
from worker.sandbox.linux import cgroup
from worker.sandbox.linux.launcher_id import dead, mark
from worker.sandbox.linux.rmtree import remove_folder

GONE = "999999999.5"


def test_a_mark_tells_a_process_from_a_later_one_with_its_id() -> None:
    """The same process has the same mark; with another start it is another's."""
    pid, _, started = mark().partition(".")
    assert pid == str(os.getpid())
    assert mark(os.getpid()) == mark()
    assert not dead(mark())
    assert dead(f"{pid}.{int(started) + 1}")
    assert dead(GONE)
    assert not dead("supervisor")
    assert not dead(pid)


def test_folders_go_whatever_their_modes() -> None:
    """A folder of the dead launcher is removed, one of another launcher is not."""
    home = Path(tempfile.mkdtemp(prefix=f"codeexec-{GONE}-", dir="/tmp"))
    other = Path(tempfile.mkdtemp(prefix="codeexec-999999999.6-", dir="/tmp"))
    (home / "locked").mkdir(mode=0)
    assert cleanup.clear(GONE)
    assert not home.exists()
    assert other.is_dir()
    other.rmdir()


def test_folders_go_however_deep(tmp_path: Path) -> None:
    """A tree deeper than paths and recursion reach is removed, with links, pipes and odd names in it."""
    top = tmp_path / "home"
    top.mkdir()
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o750)
    fd = os.open(top, os.O_RDONLY)
    for depth in range(1500):
        os.symlink(outside, "link", dir_fd=fd)
        os.mkfifo(b"\xff\n", dir_fd=fd)
        os.mkdir(name := f"{depth}".zfill(200), 0o300, dir_fd=fd)
        below = os.open(name, os.O_PATH, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    remove_folder(str(top))
    assert not top.exists()
    assert outside.stat().st_mode & 0o777 == 0o750


def test_a_link_in_place_of_a_folder_is_not_followed(tmp_path: Path) -> None:
    """Somebody's link with the name of a run's folder costs nothing at its other end."""
    outside = tmp_path / "outside"
    (outside / "kept").mkdir(parents=True)
    outside.chmod(0o750)
    link = tmp_path / "link"
    link.symlink_to(outside)
    remove_folder(str(link))
    assert (outside / "kept").is_dir()
    assert outside.stat().st_mode & 0o777 == 0o750


def test_processes_that_did_not_notice_are_killed() -> None:
    """A process that entered a group of a launcher that is dead is killed, and the group removed."""
    groups, why = cgroup.find()
    if groups is None:
        pytest.skip(why)
    groups._mark = GONE
    group = groups.group("1")
    procs_descriptors = group.procs_descriptors()
    enter = f"import os, time\nfor door in {procs_descriptors}: os.write(door, b'0')\ntime.sleep(60)"
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", enter], pass_fds=procs_descriptors) as process:
        for door in procs_descriptors:
            os.close(door)
        wait_until(lambda: group.holds(process.pid), 20)
        assert group.processes() == [process.pid]
        assert cgroup.folders(GONE)
        assert cleanup.clear(GONE)
        assert process.wait(5) == -9
    assert cgroup.folders(GONE) == []
