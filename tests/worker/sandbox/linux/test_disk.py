"""How much a cell fills of a disk that it shares, and what could hide it."""

from __future__ import annotations

import errno
import mmap
import os
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest

from worker.sandbox import Sandbox
from worker.sandbox.linux import disk, syscalls

MB = 1 << 20


def test_bytes_and_files_are_counted(tmp_path: Path) -> None:
    """Blocks count, not the length that a file claims, and every entry is one."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "full").write_bytes(os.urandom(MB))
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    size, count = disk.measure(tmp_path, 100)
    assert MB <= size < 2 * MB
    assert count == 3
    assert disk.measure(tmp_path, 1)[1] > 1


def test_what_lies_too_deep_is_not_taken_for_nothing(tmp_path: Path) -> None:
    """Below the longest path there may be anything."""
    fd = os.open(tmp_path, os.O_RDONLY)
    for _ in range(25):
        os.mkdir("d" * 200, dir_fd=fd)
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    with pytest.raises(disk.Unmeasurable):
        disk.measure(tmp_path, 100)


@pytest.mark.parametrize(("mode", "hides"), [(0o300, True), (0, False), (0o500, False)])
def test_a_folder_closed_to_be_read(mode: int, hides: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that can be written though not read may hold anything; one that lets nobody in holds nothing new."""
    scandir = os.scandir

    def refuse(path: str) -> Any:  # as the kernel does for anybody but root
        if path.endswith("closed") and not mode & 0o400:
            raise PermissionError(errno.EACCES, "refused", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    (tmp_path / "closed").mkdir(mode)
    try:
        if hides:
            with pytest.raises(disk.Unmeasurable):
                disk.measure(tmp_path, 100)
        else:
            assert disk.measure(tmp_path, 100)[1] == 1
    finally:
        (tmp_path / "closed").chmod(0o700)


def test_removed_files_count_open_or_mapped(tmp_path: Path) -> None:
    """An open one counts what it holds, one that is only mapped the most it can hold, one on another disk nothing."""
    me = [os.getpid()]
    before = disk.removed(me, tmp_path, 50 * MB)
    with tempfile.TemporaryFile(dir=tmp_path) as file:
        file.write(os.urandom(MB))
        file.flush()
        assert MB <= disk.removed(me, tmp_path, 50 * MB) - before < 2 * MB
        area = syscalls.libc.mmap(None, mmap.PAGESIZE, mmap.PROT_READ, mmap.MAP_SHARED, file.fileno(), 0)
        assert disk.removed(me, tmp_path, 50 * MB) - before < 2 * MB
        assert disk.removed(me, Path("/proc"), 50 * MB) == 0
    assert disk.removed(me, tmp_path, 50 * MB) - before == 50 * MB
    del area


def test_descriptors_of_a_thread_count(tmp_path: Path) -> None:
    """A thread with a descriptor table of its own hides nothing in it."""
    opened, done = threading.Event(), threading.Event()

    def work() -> None:
        syscalls.syscall(syscalls.CLOSE_RANGE, 1000, 1000, 2)  # CLOSE_RANGE_UNSHARE
        with tempfile.TemporaryFile(dir=tmp_path) as file:
            file.write(os.urandom(MB))
            file.flush()
            opened.set()
            done.wait(10)

    before = disk.removed([os.getpid()], tmp_path, 0)
    thread = threading.Thread(target=work)
    thread.start()
    assert opened.wait(10)
    try:
        assert disk.removed([os.getpid()], tmp_path, 0) - before >= MB
    finally:
        done.set()
        thread.join()


def test_the_cells_folder_is_looked_at_where_it_is_on_a_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without namespaces the floor of free space holds for the folder of the cells, not only for the worker's own."""
    monkeypatch.setattr(tempfile, "tempdir", "/dev/shm")
    monkeypatch.setattr(disk, "FOLDERS", (str(tmp_path),))
    sandbox = Sandbox(free_disk_mb=1 << 40)
    assert "/dev/shm" in (sandbox.short_of() or "")
    roomy = Sandbox(free_disk_mb=0)
    roomy.report = {"level": 1}
    asked: list[str] = []
    usage = disk.scratch
    monkeypatch.setattr(disk, "scratch", lambda: asked.append("cells") or usage())  # type: ignore[func-returns-value]
    assert roomy.short_of() is None
    assert asked == ["cells"]
    monkeypatch.setattr(disk, "FOLDERS", ("/nowhere",))
    with pytest.raises(FileNotFoundError, match="/nowhere"):
        usage()
