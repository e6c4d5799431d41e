"""What isolation there is, as every result carries it."""

from __future__ import annotations

import os
from typing import Any

from ..linux.cgroup import Cgroups
from ..protocol.messages import ZygoteReady


def isolation_report(ready: ZygoteReady, cgroups: Cgroups | None, no_cgroup: str) -> dict[str, Any]:
    """The ``isolation`` of an outcome, as far as it is known before the first standby is ready.

    Args:
        ready: what the zygote says about itself.
        cgroups: for memory and tasks.
        no_cgroup: why there are none.
    """
    full, root = ready.level >= 2, os.getuid() == 0
    missing = list(ready.missing)
    if cgroups is None:
        missing.append(f"cgroup: {no_cgroup}")
        missing.append("memory: what the kernel holds for a cell's sockets is estimated, or at level 1 not counted")
        if not full and root and not ready.own_uid:
            missing.append("processes: nothing limits them for root without a control group or a user of its own")
    return {
        "level": ready.level,
        "userns": full,
        "pidns": full,
        "mountns": full,
        "netns": full,
        "own_uid": root and ready.own_uid,
        "cgroup": f"v{cgroups.version}" if cgroups else None,
        "memory_limit": f"cgroup v{cgroups.version}" if cgroups else "sampled every 40 ms",
        "network": "none" if full else "refused by seccomp",
        "python": ready.python,
        "preloaded": list(ready.preloaded),
        "fast_fork": {"on": True, "off": False}.get(ready.fast_fork, ready.fast_fork),
        "missing": missing,
    }
