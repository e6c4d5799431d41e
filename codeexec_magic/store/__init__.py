"""The job record in Redis: the one truth about a job. Celery delivers; this decides.

One hash per job. Submit, begin, finish, cancel, requeue and drop are one Lua script each, so no crash leaves half a
state; the scripts are in ``lua/``. An attempt holds a lease, renewed while its sandbox lives; whoever finishes an
attempt must name it, so a worker that was taken for dead and comes back is fenced out.

Keys, all below ``codeexec:{namespace}:`` (PREFIX):

======================  ======  ===========================================================================
``job:{id}``            hash    the record; expires after the result TTL, dead letters stay until dropped
``events:{id}``         stream  output and status events, oldest first, capped
``followers:{id}``      list    identical jobs that wait for this one's answer
``queued:{queue}``      zset    waiting jobs by time of publication
``running``             zset    running jobs by end of lease
``retrying``            zset    jobs that wait for their next try, by due time
``jobs``, ``finished``  zset    all known jobs by submission; ended ones, to prune ``jobs``
``cache:{key}:{env}``   hash    the job whose run answers for identical ones, and when it ended
``inflight:...``        string  the job that is running for identical ones
``worker:{id}``         hash    what a worker says of itself, with a TTL; ``workers`` and ``listeners:{queue}`` index it
``queues``              hash    what workers announced of each queue; ``environments``: their fingerprints
``counters``            hash    totals since the server was set up
``dead_letter:index``   hash    task id -> its entry in the ``dead_letter`` list
======================  ======  ===========================================================================
"""

from codeexec_magic.store.connection import broker_errors, connect
from codeexec_magic.store.jobs import Begun, JobStore, Submission
from codeexec_magic.store.state import JobState, Snapshot

__all__ = ["Begun", "JobState", "JobStore", "Snapshot", "Submission", "broker_errors", "connect"]
