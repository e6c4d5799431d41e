"""Control groups of both versions, on a folder that looks like one where the real one is not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from worker.sandbox.linux import cgroup
from worker.sandbox.linux.launcher_id import mark

V2 = "30 24 0:26 / {base} rw,nosuid - cgroup2 cgroup2 rw\n"


def fake_v2(folder: Path, controllers: str) -> Path:
    """A /proc/self that points into ``folder`` as a version 2 hierarchy; returns it."""
    base, proc = folder / "cgroup", folder / "proc"
    own = base / "unit.service"
    own.mkdir(parents=True)
    proc.mkdir()
    (proc / "mountinfo").write_text(V2.format(base=base))
    (proc / "cgroup").write_text("0::/unit.service\n")
    (own / "cgroup.controllers").write_text(controllers)
    (own / "cgroup.subtree_control").write_text("")
    (own / "cgroup.procs").write_text("")
    (own / "cgroup.type").write_text("domain\n")
    return proc


def test_second_version_is_found_and_prepared(tmp_path: Path) -> None:
    """A delegated group gets its controllers enabled, and groups below it their limits."""
    proc = fake_v2(tmp_path, "cpu memory pids")
    groups, why = cgroup.find(proc)
    assert groups is not None, why
    assert groups.version == 2
    own = tmp_path / "cgroup/unit.service"
    assert (own / "cgroup.subtree_control").read_text() == "+memory +pids"
    group = groups.group("1")
    folder = next(own.glob("codeexec-*-1"))
    for name in ("memory.max", "memory.swap.max", "memory.oom.group", "pids.max", "cgroup.procs"):
        (folder / name).touch()
    group.limit(100, 11)
    (door,) = group.procs_descriptors()
    os.write(door, b"42")
    os.close(door)
    assert (folder / "memory.max").read_text() == str(100 << 20)
    assert (folder / "memory.swap.max").read_text() == "0"
    assert (folder / "pids.max").read_text() == "11"
    (folder / "memory.events").write_text("low 0\noom 2\noom_kill 2\noom_group_kill 1\n")
    (folder / "memory.peak").write_text("12345\n")
    (folder / "cpu.stat").write_text("usage_usec 1500000\nuser_usec 1000000\nsystem_usec 500000\n")
    assert group.cpu() == 1.5
    assert group.oom_kills() == 2
    assert group.peak() == 12345
    assert group.processes() == [42]


def test_the_root_of_the_machine_is_left_as_it_is(tmp_path: Path) -> None:
    """Threads of the kernel are in it, which cannot be moved, and need not be."""
    proc = fake_v2(tmp_path, "memory pids")
    own = tmp_path / "cgroup/unit.service"
    (own / "cgroup.type").unlink()
    (own / "cgroup.procs").write_text("2\n")
    groups, why = cgroup.find(proc)
    assert groups is not None, why
    assert (own / "cgroup.subtree_control").read_text() == "+memory +pids"
    assert not (own / "codeexec-supervisor").exists()


def test_without_the_memory_controller_there_is_a_reason(tmp_path: Path) -> None:
    """A group without the memory controller is of no use, and the report says so."""
    groups, why = cgroup.find(fake_v2(tmp_path, "cpu"))
    assert groups is None
    assert "memory controller is not delegated" in why


def test_nothing_mounted(tmp_path: Path) -> None:
    """No hierarchy at all is a reason, too."""
    (tmp_path / "mountinfo").write_text("30 24 0:26 / / rw - ext4 /dev/vda rw\n")
    (tmp_path / "cgroup").write_text("0::/\n")
    assert cgroup.find(tmp_path) == (None, "no cgroup file system is mounted")


def test_groups_of_dead_launchers_are_swept(tmp_path: Path) -> None:
    """What a killed launcher left behind goes when the next one starts, also when its id is another's by now."""
    proc = fake_v2(tmp_path, "memory pids")
    own = tmp_path / "cgroup/unit.service"
    pid, _, started = mark().partition(".")
    gone = [own / "codeexec-999999999.5-7", own / f"codeexec-{pid}.{int(started) - 1}-7"]
    kept = [own / f"codeexec-{pid}.{started}-7", own / "codeexec-else-7"]
    for folder in gone + kept:
        folder.mkdir()
    cgroup.find(proc)
    assert [folder.exists() for folder in gone + kept] == [False, False, True, True]


def test_the_next_launcher_finds_the_same_groups(tmp_path: Path) -> None:
    """A launcher started from the leaf that the one before has moved everybody to divides the same group."""
    proc = fake_v2(tmp_path, "memory pids")
    first, _ = cgroup.find(proc)
    assert first is not None
    first.group("1")
    (proc / "cgroup").write_text("0::/unit.service/codeexec-supervisor\n")
    second, why = cgroup.find(proc)
    assert second is not None, why
    assert [folder.parent.name for folder in cgroup.folders(mark(), proc)] == ["unit.service"]
    second.group("2")
    assert len(cgroup.folders(mark(), proc)) == 2
    assert not (tmp_path / "cgroup/unit.service/codeexec-supervisor/codeexec-supervisor").exists()


def test_real_group() -> None:
    """Where this machine lets us, a real group takes limits and goes away."""
    groups, why = cgroup.find()
    if groups is None:
        pytest.skip(why)
    group = groups.group("test")
    try:
        group.limit(64, 5)
        assert group.processes() == []
        assert group.oom_kills() == 0
    finally:
        assert group.remove()
