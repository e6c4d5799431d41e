"""Sizes, durations and limits as arguments of commands."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    _ParamType = click.ParamType[Any]
else:
    _ParamType = click.ParamType  # generic only in newer releases of click


class Quantity(_ParamType):
    """An argument that a function of ``codeexec_magic.quantities``, or one like them, converts.

    Args:
        convert: the function; its ValueError says what is wrong.
    """

    name = "quantity"

    def __init__(self, convert: Callable[[str], Any]) -> None:
        self._convert = convert

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Convert the text of an argument."""
        try:
            return self._convert(value) if isinstance(value, str) else value
        except ValueError as err:
            self.fail(str(err), param, ctx)
