"""The line of the magic: sizes, times, names, profiles, variables, and one helpful line for every mistake."""

from __future__ import annotations

import argparse
import datetime
import math
from pathlib import Path
from typing import Any

import pytest
from IPython.core.error import UsageError

from codeexec_magic.magics import options, profiles, variables


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


def test_values_are_collected() -> None:
    """JSON values of any depth go along."""
    namespace = {"a": 1, "b": {"x": [1.5, None, True, ("t",)]}}
    assert variables.collect(["a", "b"], namespace) == namespace


class Frame:
    """Stands in for a value that JSON does not have."""


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"x": [1, {2}]}, r"v\['x'\]\[1\] is a set, which is not a JSON value: send sorted\(v\['x'\]\[1\]\)"),
        ({1: 2}, "v has the key 1; JSON objects have text keys only"),
        (math.nan, "v is nan, which JSON does not have"),
        (datetime.date(2026, 1, 1), r"send v\.isoformat\(\)"),
        (Frame(), "v is a Frame, which is not a JSON value"),
        (b"x", "base64"),
    ],
)
def test_values_that_are_not_json(value: Any, message: str) -> None:
    """The message names the part that cannot go, and what to send instead."""
    with pytest.raises(UsageError, match=message):
        variables.collect(["v"], {"v": value})


def test_values_that_contain_themselves() -> None:
    """A list within itself is told, not followed for ever."""
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(UsageError, match=r"loop\[0\] contains itself"):
        variables.collect(["loop"], {"loop": loop})


def test_missing_variable_suggests() -> None:
    """A typo in --in is named with the nearest variable."""
    with pytest.raises(UsageError, match="--in frme: no such variable; did you mean frame"):
        variables.collect(["frme"], {"frame": 1})


def test_bring_back_binds_and_reports() -> None:
    """Values that came back are bound; missing names are returned."""
    namespace: dict[str, Any] = {}
    assert variables.bring_back(["x", "y"], {"x": 1, "z": 2}, namespace) == ["y"]
    assert namespace == {"x": 1}
