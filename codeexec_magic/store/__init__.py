"""The job record in Redis: the one truth about a job. Celery delivers; this decides.

One hash per job. Submit, begin, finish, cancel, requeue and drop are one Lua script each, so no crash leaves half a
state; the scripts are in ``lua/``. An attempt holds a lease, renewed while its sandbox lives; whoever finishes an
attempt must name it, so a worker that was taken for dead and comes back is fenced out.

``keys.py`` names every key and says what keeps it from growing for ever; ``codeexec keys`` shows them live.
"""

from codeexec_magic.store.connection import broker_errors, connect
from codeexec_magic.store.jobs import JobStore
from codeexec_magic.store.replies import Begun, Submission
from codeexec_magic.store.snapshot import JobState, Snapshot

__all__ = ["Begun", "JobState", "JobStore", "Snapshot", "Submission", "broker_errors", "connect"]
