"""The options of ``%%remote_exec``: one parser for the magic's line and for profiles."""

from __future__ import annotations

import argparse
import keyword
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, ParamSpec, TypeVar, cast

from IPython.core.error import UsageError
from IPython.core.magic_arguments import argument, magic_arguments
from IPython.utils.process import arg_split  # type: ignore[attr-defined]

from codeexec_magic import quantities
from codeexec_magic.display.sanitize import HtmlMode
from codeexec_magic.limits import Limits, named_limit

P = ParamSpec("P")
T = TypeVar("T")
Argument = tuple[tuple[str, ...], dict[str, Any]]

# IPython's decorators have no types
_argument: Any = argument
_magic_arguments: Any = magic_arguments


def _argument_type(convert: Callable[[str], T]) -> Callable[[str], T]:
    """A converter whose ValueError argparse passes on; it would replace the text of one by its own."""

    def converted(text: str) -> T:
        try:
            return convert(text)
        except ValueError as err:
            raise argparse.ArgumentTypeError(str(err)) from None

    return converted


memory_mb = _argument_type(quantities.megabytes)
duration = _argument_type(quantities.seconds)
count = _argument_type(quantities.count)
limit = _argument_type(named_limit)


def durations(text: str) -> list[float]:
    """Times separated by commas.

    Raises:
        argparse.ArgumentTypeError: one is none, or there is none.
    """
    found = [duration(part) for part in text.split(",") if part.strip()]
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of times: write seconds such as 5,25,125")
    return found


def variable(text: str) -> str:
    """One variable name.

    Raises:
        argparse.ArgumentTypeError: it cannot be one.
    """
    if not text.isidentifier() or keyword.iskeyword(text):
        raise argparse.ArgumentTypeError(f"{text!r} cannot be a variable name")
    return text


def variables(text: str) -> list[str]:
    """Names separated by commas."""
    return [variable(part.strip()) for part in text.split(",") if part.strip()]


def option(*flags: str, **keywords: Any) -> Argument:
    """One option or argument of a magic, as ``argparse`` takes it."""
    return flags, keywords


#: what stands on the line of ``%%remote_exec``, and in a profile
REMOTE_EXEC: tuple[Argument, ...] = (
    option("-q", "--queue", metavar="NAME", help="queue to run on (code_execution, or code_execution_heavy)"),
    option("-a", "--no-wait", action="store_true", help="return at once; card and output follow below the cell"),
    option("-o", "--as", metavar="NAME", dest="bind", type=variable, help="bind the Job to this variable"),
    option(
        "--in",
        metavar="A,B",
        dest="inputs",
        type=variables,
        action="extend",
        help="variables to send; auto: those that the cell uses",
    ),
    option("--out", metavar="X,Y", dest="outputs", type=variables, action="extend", help="variables to bring back"),
    option(
        "--upload",
        metavar="PATH",
        dest="uploads",
        nargs="+",
        action="extend",
        help="files and folders to copy to the cell's work folder",
    ),
    option(
        "--download",
        metavar="GLOB",
        dest="downloads",
        nargs="+",
        action="extend",
        help="files to copy back, such as figures/*.png",
    ),
    option("--to", metavar="FOLDER", dest="to", default=".", help="folder for what --download brings (default: here)"),
    option("--overwrite", action="store_true", help="let --download replace files that exist"),
    option(
        "--timeout",
        metavar="S",
        type=duration,
        help="soft time limit in seconds: SoftTimeLimitExceeded is raised in the cell; 30 s later it is killed",
    ),
    option("--memory", metavar="SIZE", type=memory_mb, help="memory limit of all the cell's processes: 512MB, 2GB"),
    option(
        "--limit",
        metavar="NAME=N",
        dest="limits",
        type=limit,
        action="append",
        help=f"any other limit, like processes=20; there are {', '.join(Limits.__dataclass_fields__)}",
    ),
    option(
        "--retries",
        metavar="N",
        type=count,
        help="runs after one that hit a limit (default: CODEEXEC_RETRIES, 3)",
    ),
    option(
        "--retry-waits",
        metavar="S,S",
        type=durations,
        help="seconds before each retry, the last repeats (default: CODEEXEC_RETRY_WAITS_S, 5,25,125)",
    ),
    option(
        "--no-cache", dest="cache", action="store_const", const="off", help="neither use a cached result nor store one"
    ),
    option("--refresh", dest="cache", action="store_const", const="refresh", help="run again and store the new result"),
    option("--profile", metavar="NAME", help="options named in [tool.codeexec.profiles.NAME] of pyproject.toml"),
    option(
        "--html",
        choices=[str(mode) for mode in HtmlMode],
        help="HTML output: clean (default), frame (whole, in a frame without scripts), trust",
    ),
    option(
        "--trust",
        dest="html",
        action="store_const",
        const="trust",
        help="show the cell's HTML and JavaScript unsanitised: for your own workers",
    ),
    option("--network", action="store_true", help="ask for network access (workers must allow it)"),
    option(
        "--on-interrupt",
        choices=["cancel", "detach"],
        help="what Stop does to the task: cancel (default), or let it go on",
    ),
)


def magic(
    kind: Callable[[Any], Any], *arguments: Argument, name: str | None = None
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Make a method a magic with options.

    Args:
        kind: IPython's ``line_magic``, ``cell_magic`` or ``line_cell_magic``.
        arguments: what stands on its line.
        name: what its help calls it.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        made: Any = kind(function)
        for flags, keywords in reversed(arguments):
            made = _argument(*flags, **keywords)(made)
        # IPython expands {name} and $name on the line, as for every magic; the code below it stays as it is
        return cast("Callable[P, T]", _magic_arguments(name)(made))

    return decorate


def parser_of(function: Callable[..., Any]) -> argparse.ArgumentParser:
    """The parser of a method made by :func:`magic`."""
    parser: argparse.ArgumentParser = function.parser  # type: ignore[attr-defined]
    return parser


def flags_of(parser: argparse.ArgumentParser) -> list[str]:
    """All option strings."""
    return [flag for action in parser._actions for flag in action.option_strings]


def parse(function: Callable[..., Any], argv: Sequence[str], *, positional: str = "") -> argparse.Namespace:
    """Parse, and name the nearest option when one is unknown.

    Args:
        function: a method made by :func:`magic`.
        argv: the words on its line.
        positional: what to say about words that are not options, where none are expected.

    Raises:
        UsageError: one line that says what is wrong.
    """
    parser = parser_of(function)
    try:
        args, rest = parser.parse_known_args(list(argv))
    except UsageError as err:
        raise UsageError(str(err).removeprefix("argument ")) from None
    if rest:
        word = rest[0]
        if not word.startswith("-"):
            raise UsageError(f"unexpected {word!r}{': ' + positional if positional else ''}")
        flag = word.partition("=")[0]
        near = get_close_matches(flag, flags_of(parser), 1, 0.5)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(flags_of(parser))}"
        raise UsageError(f"unknown option {flag}: {hint}")
    return args


def split(line: str) -> list[str]:
    """The words of a magic's line.

    Raises:
        UsageError: a quote is not closed.
    """
    try:
        return [word.strip("\"'") if word[:1] in "\"'" else word for word in arg_split(line)]
    except ValueError as err:
        raise UsageError(f"cannot read the options: {err}") from None


def as_argv(profile: Mapping[str, Any], where: str) -> list[str]:
    """A profile's options as words of a line.

    Raises:
        UsageError: a value is of no use as an option.
    """
    argv = []
    for name, value in profile.items():
        flag = "--" + name.replace("_", "-")
        if value is True:
            argv.append(flag)
        elif isinstance(value, list):
            argv += [flag, ",".join(map(str, value))]
        elif isinstance(value, str | int | float) and value is not False:
            argv += [flag, str(value)]
        elif value is not False:
            raise UsageError(f"{where}: {name} must be text, a number or true, not {value!r}")
    return argv
