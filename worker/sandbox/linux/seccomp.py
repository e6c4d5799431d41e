"""The system call filter, made of the tables of calls.

It is an allow-list: a call that is in no table, also one that a later kernel brings, is answered as by a kernel that
does not have it. Refused calls fail with an error number instead of killing, because libraries probe for features and
go on without them.
"""

from __future__ import annotations

import errno
import functools
from typing import Final

from . import argument_rules as rules
from . import own_calls, syscall_table
from .bpf import ALLOW, KILL, NOTIFY, Assembler, failure

_AUDIT_ARCH: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
#: the x32 numbers repeat the table from here on
_X32: Final = 0x40000000
_RWF_NOWAIT, _RWF_DONTCACHE = 0x8, 0x80


@functools.cache
def build(
    machine: str,
    *,
    inet: bool,
    unix: bool,
    ipc: bool,
    unseen_memory: bool,
    shared_owner: bool = False,
    supervised: bool = False,
) -> bytes:
    """Make the filter for one architecture; made once, in the zygote, and known to its forks.

    Args:
        machine: ``x86_64`` or ``aarch64``.
        inet: internet sockets may be made (a network namespace, or the operator, contains them).
        unix: unix sockets may be made; without a mount namespace they reach services of the host.
        ipc: System V and POSIX queues may be made; without an ipc namespace they stay on the host.
        unseen_memory: memory that belongs to no process's address space may be made (a cgroup counts it).
        shared_owner: files of the host belong to the cell's user, so that nothing of theirs may be changed.
        supervised: new processes and ``flock`` wait for the launcher's answer.
    """
    out = Assembler()
    out.load(4)
    out.if_equal(_AUDIT_ARCH[machine], 1, 0)
    out.answer(KILL)  # another architecture's numbers mean other calls
    out.load(0)
    if machine == "x86_64":
        out.if_at_least(_X32, 0, 1)
        out.refuse(errno.ENOSYS)
    actions: dict[int, int | Assembler] = {}

    def put(action: int | Assembler, *tables: tuple[syscall_table.Call, ...]) -> None:
        actions.update(dict.fromkeys(syscall_table.numbers(machine, *tables), action))

    table = syscall_table
    put(ALLOW, own_calls.OWN)
    for action, names in _ruled(unix=unix, inet=inet, private=ipc, supervised=supervised).items():
        put(action, tuple(call for call in table.RULED if call[0] in names))
    # what is the cell's own only where something else contains it
    put(ALLOW if ipc else failure(errno.ENOSYS), table.SHARED_OBJECTS)
    for memory in table.UNSEEN_MEMORY:
        if not unseen_memory:
            put(failure(errno.ENOSYS), (memory,))
        elif memory not in table.SHARED_OBJECTS:
            put(ALLOW, (memory,))
    put(ALLOW if unix or inet else failure(errno.EPERM), table.PASSING)
    put(failure(0) if shared_owner else ALLOW, table.MODES)
    put(failure(errno.EPERM) if shared_owner else ALLOW, table.OWNERS)
    put(failure(errno.EOPNOTSUPP) if shared_owner else ALLOW, table.ATTRIBUTES)
    put(rules.one_of(0, [0], errno.EPERM) if shared_owner else ALLOW, table.ON_PROCESSES)
    for call, kind in table.ON_KINDS:
        put(rules.own(kind) if shared_owner else ALLOW, (call,))
    put(failure(errno.EPERM), table.DENIED)
    put(failure(errno.ENOSYS), table.ABSENT)
    put(NOTIFY if supervised else failure(errno.ENOLCK), table.LOCKS)
    if supervised:
        put(NOTIFY, tuple(call for call in own_calls.OWN if call[0] in ("fork", "vfork")))
    put(failure(0), table.IGNORED)
    out.dispatch(actions, failure(errno.ENOSYS))
    return out.program()


def _ruled(*, unix: bool, inet: bool, private: bool, supervised: bool) -> dict[Assembler, tuple[str, ...]]:
    """The calls whose arguments decide, by their rules."""
    fcntl = (*rules.FCNTL, *rules.FCNTL_OWNERS) if private else rules.FCNTL
    return {
        rules.clone(supervised=supervised): ("clone",),
        rules.socket(unix=unix, inet=inet): ("socket",),
        rules.socketpair(): ("socketpair",),
        rules.one_of(1, fcntl, errno.EINVAL): ("fcntl",),
        rules.one_of(1, rules.IOCTL, errno.ENOTTY): ("ioctl",),
        rules.prctl(): ("prctl",),
        rules.prlimit(): ("prlimit64",),
        rules.setrlimit(0): ("setrlimit",),
        rules.one_of(0, [0, 0xFFFFFFFF], errno.EPERM): ("personality",),
        rules.fadvise(): ("fadvise64",),
        rules.madvise(): ("madvise",),
        rules.flagged(_RWF_NOWAIT | _RWF_DONTCACHE): ("preadv2", "pwritev2"),
    }
