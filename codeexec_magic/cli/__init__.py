"""The ``codeexec`` command."""

from codeexec_magic.cli.root import cli, main

__all__ = ["cli", "main"]
