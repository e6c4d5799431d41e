"""Control groups of version 2 alone, on a kernel of its own: a user mode Linux, where one is installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support import missing

pytestmark = pytest.mark.abuse

KERNEL = shutil.which("linux.uml")
CASES = Path(__file__).parent / "abuse"
#: what the kernel starts: file systems in memory over the machine's own, which is read-only, then the group to divide
INIT = """#!/bin/sh
mount -t proc proc /proc; mount -t tmpfs tmpfs /tmp; mount -t tmpfs tmpfs /run; mount -t tmpfs tmpfs /var/tmp
mount -t sysfs sys /sys; mount -t cgroup2 none /sys/fs/cgroup
if [ {place} = unit ]; then
  mkdir /sys/fs/cgroup/unit
  echo "+memory +pids" >/sys/fs/cgroup/cgroup.subtree_control
  echo $$ >/sys/fs/cgroup/unit/cgroup.procs
fi
cd /tmp
PYTHONPATH={path} {python} -B - <<'PYTHON'
{script}
PYTHON
halt -f -p
"""
SCRIPT = """
import glob, json, pathlib, time
from codeexec_magic.limits import Limits
from tests.weakened import without
from worker.sandbox import Cell, Sandbox
cases = json.loads({cases!r})
# the kernel of this test has no Landlock
with Sandbox(slots=1, preload=(), required_isolation=0, probe=False, weakening=without("landlock")) as sandbox:
    print("SEEN", json.dumps(["report", sandbox.report]), flush=True)
    for name, code in cases.items():
        limits = Limits(soft_s=60, hard_s=70, cpu_s=30, memory_mb=128)
        events = []
        outcome = sandbox.run(Cell(name, code, limits)).wait(events.append)
        text = "".join(event.get("text", "") for event in events)
        seen = [outcome.reason.value, outcome.verdict, outcome.memory_used_mb, text]
        print("SEEN", json.dumps([name, seen]), flush=True)
time.sleep(1)
left = glob.glob("/sys/fs/cgroup/**/codeexec-*-*", recursive=True)
print("SEEN", json.dumps(["left", left]), flush=True)
"""
FILL = """
import mmap, os, time
def fill(size):
    area = mmap.mmap(-1, size << 20)
    for at in range(0, len(area), 4096): area[at] = 1
    return area
"""
CODES = {
    "under": FILL + "held = fill(40)\nprint('held')",
    "over": FILL + "held = fill(300)\nprint('held')",
    "tree": FILL
    + "for _ in range(4):\n    if os.fork() == 0:\n        held = fill(60)\n        time.sleep(60)\ntime.sleep(60)",
    "forks": "import os, time\nfor n in range(64):\n    if os.fork() == 0:\n        time.sleep(60)",
    "objects": (CASES / "924_kernel_objects.py").read_text(),
    "unwaited": (CASES / "935_nobody_waits.py").read_text().replace("+ 20", "+ 60"),
}


def boot(folder: Path, place: str, codes: dict[str, str]) -> dict[str, Any]:
    """Run the cells on that kernel; what was seen of each."""
    init = folder / "init"
    script = SCRIPT.replace("{cases!r}", repr(json.dumps(codes)))
    init.write_text(INIT.format(place=place, path=Path(__file__).parents[3], python=sys.executable, script=script))
    init.chmod(0o755)
    assert KERNEL is not None
    command = [
        KERNEL,
        "root=/dev/root",
        "rootfstype=hostfs",
        "rootflags=/",
        "ro",
        "mem=2G",
        f"init={init}",
        f"umid={folder.name}",
    ]
    command += ["con=null", "con0=null,fd:1", "con1=null", "ssl=null", "quiet"]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=240,
        check=False,
        env={"TMPDIR": "/dev/shm", "HOME": str(folder)},
    )
    lines = [line.partition("SEEN ")[2] for line in done.stdout.splitlines() if line.startswith("SEEN ")]
    assert lines, done.stdout[-3000:] + done.stderr[-3000:]
    return dict(json.loads(line) for line in lines)


@pytest.mark.skipif(os.getuid() != 0, reason="who is root there is nobody on the machine's own file system")
@pytest.mark.timeout(300)
def test_limits_of_the_tree(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Memory, processes and processor time of a tree are the kernel's to count."""
    seen = look(tmp_path_factory, "unit", CODES)
    assert seen["under"][0] == "ok", seen
    assert seen["under"][3] == "held\n"
    for name in ("over", "tree", "objects"):
        assert_memory(seen[name])
    assert "limit of 10 processes reached, 1 refused" in seen["forks"][1]
    assert seen["unwaited"][0] == "cpu", seen["unwaited"]


@pytest.mark.skipif(os.getuid() != 0, reason="who is root there is nobody on the machine's own file system")
@pytest.mark.timeout(300)
def test_the_machines_root_group_will_do(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Where the worker is in no group of its own, groups are made in the root one, kernel threads or not."""
    assert_memory(look(tmp_path_factory, "root", {"tree": CODES["tree"]})["tree"])


def look(folders: pytest.TempPathFactory, place: str, codes: dict[str, str]) -> dict[str, Any]:
    """What was seen of these cells; the groups were of version 2, and none is left."""
    if KERNEL is None:
        missing("user mode Linux (package user-mode-linux)")
    seen = boot(folders.mktemp("uml"), place, codes)
    assert seen["report"]["cgroup"] == "v2", seen
    assert seen["left"] == []
    return seen


def assert_memory(seen: list[Any]) -> None:
    """The memory limit ended it, and the verdict says so."""
    reason, verdict, peak, text = seen
    assert reason == "memory", seen
    assert verdict.startswith("memory: 128 MB limit reached, peak ")
    assert 100 <= peak <= 128
    assert not text
