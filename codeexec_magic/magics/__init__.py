"""``%%remote_exec`` and ``%remote_*``: parse the line, call the client, show the job."""

from codeexec_magic.magics.registry import register, unregister

__all__ = ["register", "unregister"]
