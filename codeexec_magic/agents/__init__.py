"""Let a model run code: one call, :func:`remote_exec`, and the interfaces that agents speak on top of it."""

from codeexec_magic.agents.dry_run import DryRun
from codeexec_magic.agents.remote_exec import remote_exec

__all__ = ["DryRun", "remote_exec"]
