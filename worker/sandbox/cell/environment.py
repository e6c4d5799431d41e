"""The environment variables of a cell."""

from __future__ import annotations

import os
import sys
from typing import Final

#: what libraries make at most by themselves: each thread's stack takes 8 MB of the memory limit, and on a machine of
#: 64 processors the pools of polars and XLA, and the processes of joblib, would not fit
_POOL: Final = str(min(os.cpu_count() or 1, 8))
THREADS: Final = {
    **{
        f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB", "BLIS", "NUMBA", "RAYON")
    },
    **dict.fromkeys(("POLARS_MAX_THREADS", "NPROC", "LOKY_MAX_CPU_COUNT"), _POOL),
}
MPLBACKEND: Final = "module://matplotlib_inline.backend_inline"
#: what a notebook's kernel sets
KERNEL: Final = {
    "CLICOLOR": "1",
    "CLICOLOR_FORCE": "1",
    "FORCE_COLOR": "1",
    "GIT_PAGER": "cat",
    "MPLBACKEND": MPLBACKEND,
    "PAGER": "cat",
    "TERM": "xterm-color",
}
_PATH: Final = ("/usr/local/bin", "/usr/bin", "/bin")


def variables(home: str, tmp: str) -> dict[str, str]:
    """All variables of a cell.

    Args:
        home: the cell's home folder.
        tmp: its folder for temporary files.
    """
    path = [os.path.dirname(sys.executable), *_PATH]  # noqa: PTH120
    return {
        "HOME": home,
        "LANG": "C.UTF-8",
        "LOGNAME": "sandbox",
        "PATH": ":".join(dict.fromkeys(path)),
        "SHELL": "/bin/sh",
        "TMPDIR": tmp,
        "USER": "sandbox",
        **THREADS,
        **KERNEL,
    }
