"""The job record in Redis: the one truth about a job. Celery delivers; this decides.

One hash per job. Submit, begin, finish, cancel, requeue and drop are one Lua script each, so no crash leaves half a
state; the scripts are in ``lua/``. An attempt holds a lease, renewed while its sandbox lives; whoever finishes an
attempt must name it, so a worker that was taken for dead and comes back is fenced out.

Keys, all below ``codeexec:{namespace}:``, and what keeps them from growing for ever:

- ``job:{id}`` (hash): the record. Result TTL after the end; dead letters: none until dropped or trimmed.
- ``events:{id}`` (stream): output and status events, oldest first, 20,000 at most. As the record.
- ``followers:{id}`` (list): identical jobs that wait for this one's answer. Removed with the answer; after a
  failure kept as long as the record.
- ``queued:{queue}`` (zset): waiting jobs by time of publication. A job leaves when it begins; capped by max_queue.
- ``running`` (zset): running jobs by end of lease. A job leaves when its attempt ends.
- ``retrying`` (zset): jobs that wait for their next try, by due time. A job leaves when it is due.
- ``jobs``, ``finished`` (zset): all known jobs by submission; ended ones by end. Pruned after the result TTL.
- ``cache:{key}:{env}`` (hash): the job whose run answers for identical ones. Cache TTL.
- ``inflight:...`` (string): the job that is running for identical ones. Removed with the answer.
- ``worker:{id}`` (hash): what a worker says of itself. 60 s after its last heartbeat.
- ``workers`` (zset): workers by last heartbeat. Pruned after a day.
- ``listeners:{queue}`` (zset): workers of a queue by last heartbeat. Pruned after 60 s.
- ``queues`` (hash): what workers announced of each queue. None; one field a queue.
- ``environments`` (hash): fingerprint of each queue's environment. None; one field a queue.
- ``counters`` (hash): totals and histograms. None; fields are queues x reasons x buckets.
- ``samples`` (list): how the queues stood, every 5 s, newest first. An hour, 720 entries.
- ``dead_letter:index`` (hash): task id -> its entry in the ``dead_letter`` list. None; 1000 entries at most.
- ``alerts`` (zset): dead letters nobody was told of yet, by time. An entry leaves when the log and the hook have it.
- ``clock`` (string): server time of the last repair. An hour.
- ``reconciler`` (string): lock of the worker that repairs now. 0.9 s.
"""

from codeexec_magic.store.answers import Begun, Submission
from codeexec_magic.store.connection import broker_errors, connect
from codeexec_magic.store.jobs import JobStore
from codeexec_magic.store.state import JobState, Snapshot

__all__ = ["Begun", "JobState", "JobStore", "Snapshot", "Submission", "broker_errors", "connect"]
