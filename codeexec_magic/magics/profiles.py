"""Named bundles of options: ``[tool.codeexec.profiles.NAME]`` in pyproject.toml, or ``[profiles.NAME]`` in one's own
``codeexec/config.toml``. The nearest pyproject.toml above the notebook stands before the user's file."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from IPython.core.error import UsageError


def config_file() -> Path:
    """The user's own file."""
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "codeexec" / "config.toml"


def profiles(folder: Path | None = None) -> dict[str, tuple[Mapping[str, Any], Path]]:
    """All profiles by name, each with the file it stands in.

    Raises:
        UsageError: a file is not TOML, or a profile in it is not a table.
    """
    found: dict[str, tuple[Mapping[str, Any], Path]] = {}
    folder = (folder or Path.cwd()).resolve()
    own = _read(config_file()).get("profiles", {})
    projects = (path / "pyproject.toml" for path in (folder, *folder.parents))
    project = next((path for path in projects if path.is_file()), None)
    tables = [(own, config_file())]
    if project is not None:
        tables.append((_read(project).get("tool", {}).get("codeexec", {}).get("profiles", {}), project))
    for table, path in tables:
        for name, options in table.items() if isinstance(table, dict) else ():
            if not isinstance(options, dict):
                raise UsageError(f"{path}: profile {name} must be a table of options")
            found[name] = (options, path)
    return found


def profile(name: str, folder: Path | None = None) -> tuple[Mapping[str, Any], str]:
    """One profile's options, and where they stand.

    Raises:
        UsageError: there is none of that name.
    """
    known = profiles(folder)
    if name not in known:
        near = get_close_matches(name, known, 1)
        if near:
            hint = f"did you mean {near[0]}?"
        elif known:
            hint = f"there are {', '.join(sorted(known))}"
        else:
            hint = f"define it in [tool.codeexec.profiles.{name}] of pyproject.toml or in {config_file()}"
        raise UsageError(f"unknown profile {name!r}: {hint}")
    options, path = known[name]
    return options, f"{path.name}, profile {name}"


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as err:
        raise UsageError(f"{path} is not TOML: {err}") from None
