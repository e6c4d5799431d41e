"""Write the seccomp profile of worker containers: ``python deploy/seccomp_profile.py >deploy/seccomp.json``.

The profile allows what a cell may call (the tables of the sandbox's own filter), what Celery and the launcher need
besides, and what makes a sandbox: user namespaces and mounts. Everything else is answered as by a kernel that lacks it.
Container runtimes refuse the mount calls and ``unshare`` by default, so that a worker there reaches level 1 only.
"""

from __future__ import annotations

import json
import sys
from typing import Any, Final

from worker.sandbox.linux import own_calls, syscall_table

#: what makes a sandbox: namespaces and mounts, the worker's view into them, and the filter of the cell itself
_SANDBOX: Final = [
    "capset",
    "chroot",
    "clone3",
    "mount",
    "mount_setattr",
    "move_mount",
    "open_tree",
    "pidfd_getfd",
    "pivot_root",
    "process_madvise",
    "seccomp",
    "sethostname",
    "setns",
    "umount2",
    "unshare",
]
#: what the fork tuning pins its pages with; it does without where they are refused
_TUNING: Final = ["io_uring_register", "io_uring_setup"]
#: what ordinary programs of a container use and a cell may not; none of them acts beyond the container
_PROGRAMS: Final = [
    "inotify_add_watch",
    "inotify_init",
    "inotify_init1",
    "inotify_rm_watch",
    "prlimit64",
    "setpriority",
]
_TABLES: Final = (
    own_calls.OWN,
    syscall_table.ATTRIBUTES,
    syscall_table.IGNORED,
    syscall_table.LOCKS,
    syscall_table.MODES,
    syscall_table.ON_PROCESSES,
    tuple(call for call, _ in syscall_table.ON_KINDS),
    syscall_table.OWNERS,
    syscall_table.PASSING,
    syscall_table.RULED,
    syscall_table.SHARED_OBJECTS,
    syscall_table.UNSEEN_MEMORY,
)


def profile() -> dict[str, Any]:
    """The profile, in the form that Docker, podman, containerd and CRI-O read."""
    names = {call[0] for table in _TABLES for call in table}
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 38,  # ENOSYS: libraries take their other way
        "archMap": [
            {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": []},
            {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": []},
        ],
        "syscalls": [
            {"names": sorted(names | {*_SANDBOX, *_TUNING, *_PROGRAMS}), "action": "SCMP_ACT_ALLOW"},
        ],
    }


if __name__ == "__main__":
    json.dump(profile(), sys.stdout, indent=1)
    sys.stdout.write("\n")
