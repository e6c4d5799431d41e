# expect: stdout has CONTAINED: no other process is slowed, pinned to a processor or signalled through a descriptor
# group: process
# what: Priorities, policies, affinities and input/output classes of all processes near it; signals by SIGIO.
import ctypes, fcntl, os, socket, sys
libc, hit, me = ctypes.CDLL(None, use_errno=True), [], os.getpid()
io = 251 if os.uname().machine == "x86_64" else 30
def attempt(name, act):
    try: act()
    except OSError: return
    hit.append(name)
for pid in sorted({os.getppid()} | set(range(max(1, me - 40), me))):
    if pid in (0, 1): continue  # in a process namespace, init is the run's own
    attempt("nice %d" % pid, lambda: os.setpriority(os.PRIO_PROCESS, pid, 19)); attempt("pin %d" % pid, lambda: os.sched_setaffinity(pid, {0}))
    attempt("idle %d" % pid, lambda: os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0)))
    if libc.syscall(io, 1, pid, 3 << 13) == 0: hit.append("io %d" % pid)
    a, b = socket.socketpair()
    try:
        fcntl.fcntl(a, fcntl.F_SETOWN, pid); fcntl.fcntl(a, 10, 9); fcntl.fcntl(a, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK); b.send(b"x")
    except OSError: pass
    a.close(); b.close()
print("ESCAPED: " + ", ".join(hit) if hit else "CONTAINED")
