"""The embedded cluster: a private server and a supervised worker, shared by a user's kernels.

A detached daemon process owns both and ends them when they have not been used for a while.
"""

from codeexec_magic.local.cluster import Cluster, ensure, find, logs, status, stop

__all__ = ["Cluster", "ensure", "find", "logs", "status", "stop"]
