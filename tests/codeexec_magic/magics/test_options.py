"""The line of the magic: sizes, times, names, profiles, variables, and one helpful line for every mistake."""

from __future__ import annotations

import argparse
from math import isnan, nan
from pathlib import Path
from typing import Any

import pytest
from IPython.core.error import UsageError

from codeexec_magic.contract import ExecutionResult, Reason, Status
from codeexec_magic.magics import options, profiles, variables
from codeexec_magic.values.received import ReceivedValues
from codeexec_magic.values.send import send
from codeexec_magic.values.store import ValueStore


def test_sizes_and_durations_are_the_shared_ones() -> None:
    """The magic's line passes on what the shared converters say of a bad value."""
    assert (options.memory_mb("1T"), options.duration("5m"), options.count("0")) == (1024**2, 300, 0)
    for convert in (options.memory_mb, options.duration, options.count):
        with pytest.raises(argparse.ArgumentTypeError, match="'x' is not a"):
            convert("x")


def test_lists_of_durations() -> None:
    """Waits between retries are times separated by commas; none at all is refused with an example."""
    assert options.durations("0.5, 25,2m") == [0.5, 25, 120]
    for text in ("", ",", "1,x"):
        with pytest.raises(argparse.ArgumentTypeError, match="write seconds"):
            options.durations(text)


@pytest.mark.parametrize("text", ["1x", "class", "a-b", "", "a b"])
def test_bad_variable_names(text: str) -> None:
    """Names must be names."""
    with pytest.raises(argparse.ArgumentTypeError, match="cannot be a variable name"):
        options.variable(text)


def test_unclosed_quote_is_one_line() -> None:
    """A line that cannot be split says so."""
    with pytest.raises(UsageError, match="cannot read the options"):
        options.split('--queue "x')


def write(path: Path, text: str) -> Path:
    """Write a file and its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder below a pyproject.toml with profiles, and a user with profiles too."""
    write(
        tmp_path / "pyproject.toml",
        '[tool.codeexec.profiles.heavy]\nqueue = "code_execution_heavy"\ntimeout = 240\nmemory = "2GB"\n'
        "no-cache = true\nnetwork = false\n[tool.codeexec.profiles.mine]\nretries = 0\n",
    )
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    write(tmp_path / "config/codeexec/config.toml", "[profiles.mine]\nretries = 9\n[profiles.own]\nout = ['a', 'b']\n")
    folder = tmp_path / "notebooks" / "deep"
    folder.mkdir(parents=True)
    return folder


def test_profiles_of_project_and_user(project: Path) -> None:
    """The project's profiles stand before the user's."""
    assert set(profiles.profiles(project)) == {"heavy", "mine", "own"}
    assert profiles.profile("mine", project)[0] == {"retries": 0}


def test_profile_as_options(project: Path) -> None:
    """A profile is turned into the words one would type."""
    bundle, where = profiles.profile("heavy", project)
    assert options.as_argv(bundle, where) == [
        "--queue", "code_execution_heavy", "--timeout", "240", "--memory", "2GB", "--no-cache",
    ]  # fmt: skip
    assert options.as_argv(*profiles.profile("own", project)) == ["--out", "a,b"]


def test_unknown_profile_suggests(project: Path) -> None:
    """A typo is named with the nearest profile."""
    with pytest.raises(UsageError, match="did you mean heavy"):
        profiles.profile("heayv", project)
    with pytest.raises(UsageError, match="there are heavy, mine, own"):
        profiles.profile("zzz", project)


def test_damaged_profile_files(tmp_path: Path) -> None:
    """A file that is not TOML is named, not traced."""
    write(tmp_path / "pyproject.toml", "[tool.codeexec")
    with pytest.raises(UsageError, match=r"pyproject.toml is not TOML"):
        profiles.profiles(tmp_path)
    write(tmp_path / "pyproject.toml", "[tool.codeexec.profiles]\nheavy = 3\n")
    with pytest.raises(UsageError, match="profile heavy must be a table"):
        profiles.profiles(tmp_path)


def test_variables_are_collected() -> None:
    """Variables are taken by name, whatever they are."""
    namespace = {"a": 1, "b": object()}
    assert variables.collect(["a", "b"], namespace) == namespace


def test_missing_variable_suggests() -> None:
    """A typo in --in is named with the nearest variable."""
    with pytest.raises(UsageError, match="--in frme: no such variable; did you mean frame"):
        variables.collect(["frme"], {"frame": 1})


def test_bring_back_binds_and_reports() -> None:
    """Values that came back are bound; for the others there is one line each."""
    namespace: dict[str, Any] = {}
    values = ReceivedValues({"x": send({"x": {1: nan}}, no_store)["x"]}, {"y": "y is too large"}, no_store)
    result = ExecutionResult("t", "h", True, Status.SUCCEEDED, Reason.OK, values=values)
    assert variables.bring_back(["x", "y", "z"], result, namespace) == [
        "--out y: y is too large",
        "--out z: the cell returned no value of this name",
    ]
    assert list(namespace) == ["x"]
    assert isnan(namespace["x"][1])


def no_store() -> ValueStore:
    """For values that are so small that they need none."""
    raise AssertionError("no store is needed")
