"""Install a wheel into a fresh environment outside the checkout and use it there."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path


def check(wheel: Path) -> None:
    """Fail unless the wheel holds the two packages and works without the checkout.

    Args:
        wheel: path of the wheel.
    """
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    extra = {
        top for top in tops if top not in ("codeexec_magic", "worker") and not top.endswith((".dist-info", ".data"))
    }
    assert not extra, f"the wheel holds more than the two packages: {extra}"
    assert {"codeexec_magic", "worker"} <= tops, f"the wheel lacks a package: {tops}"
    assert "codeexec_magic/store/lua/submit.lua" in names, "the wheel lacks the store's scripts"
    data = {name.split("/", 1)[1] for name in names if name.split("/")[0].endswith(".data")}
    assert all(name.startswith("data/share/codeexec-magic/notebooks/") for name in data), f"other data files: {data}"
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        venv.create(home / "env", with_pip=True)
        python = home / "env" / "bin" / "python"
        run = [str(python), "-m", "pip", "install", "-q", f"{wheel.resolve()}[worker]"]
        subprocess.run(run, check=True, cwd=home)
        (home / "cell.py").write_text("print('from the wheel')\n")
        sandbox = [str(python), "-P", "-m", "worker.sandbox", "cell.py"]
        told = subprocess.run(sandbox, check=True, cwd=home, capture_output=True, text=True).stdout
        assert "from the wheel" in told, told
        _check_notebooks(python, home)
        where = "import codeexec_magic, worker; print(codeexec_magic.__file__, worker.__file__)"
        found = subprocess.run([str(python), "-c", where], check=True, cwd=home, capture_output=True, text=True).stdout
        assert found.count(directory) == 2, f"not imported from the wheel: {found}"
    print(f"{wheel.name}: {len(names)} files, works outside the checkout")


def _check_notebooks(python: Path, home: Path) -> None:
    """``codeexec lab`` opens the notebooks that the wheel brings, not the current folder."""
    code = "from codeexec_magic.cli.services import notebooks; print(notebooks())"
    env = {**os.environ, "XDG_DATA_HOME": str(home / "data")}
    shown = subprocess.run([str(python), "-c", code], check=True, cwd=home, env=env, capture_output=True, text=True)
    folder = Path(shown.stdout.strip())
    assert (folder / "01_quickstart.ipynb").is_file(), f"'codeexec lab' would open {folder}"
    assert folder.is_relative_to(home / "data"), folder


if __name__ == "__main__":
    check(Path(sys.argv[1]))
