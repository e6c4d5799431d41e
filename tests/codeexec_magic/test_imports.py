"""What each side loads: the kernel stays light, and a user's worker.py cannot shadow ours."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import codeexec_magic


def loaded(code: str, cwd: Path | None = None) -> set[str]:
    """Top-level modules that a fresh interpreter has after ``code``."""
    program = f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=cwd)
    return {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


def test_the_client_is_light() -> None:
    """Importing the client loads no notebook, worker or Celery code."""
    modules = loaded("import codeexec_magic, codeexec_magic.client")
    assert "redis" in modules
    assert not modules & {"IPython", "ipywidgets", "psutil", "worker", "celery", "kombu", "nh3"}


def test_a_bare_import_loads_no_third_party_code() -> None:
    """``import codeexec_magic`` alone costs nothing."""
    assert not loaded("import codeexec_magic") & {"redis", "celery", "IPython", "click"}


def test_the_worker_loads_no_notebook_code() -> None:
    """The Celery process has neither IPython nor ipywidgets; only the sandbox's zygote does."""
    modules = loaded("import worker.app, worker.tasks")
    assert "celery" in modules
    assert not modules & {"IPython", "ipywidgets"}


def test_the_contract_is_standard_library_only() -> None:
    """Contract, errors and settings can be imported anywhere."""
    modules = loaded("import codeexec_magic.contract, codeexec_magic.settings")
    assert not modules & {"redis", "celery", "IPython", "worker"}


def test_a_users_worker_module_is_left_alone(tmp_path: Path) -> None:
    """A notebook folder with a worker.py of its own does not disturb the client."""
    (tmp_path / "worker.py").write_text("raise RuntimeError('shadowed')")
    assert "worker" not in loaded("import codeexec_magic.client, codeexec_magic.code_tools", tmp_path)


def test_public_names_exist() -> None:
    """Everything in __all__ can be had."""
    assert all(getattr(codeexec_magic, name) for name in codeexec_magic.__all__)
    assert set(codeexec_magic.__all__) <= set(dir(codeexec_magic))
