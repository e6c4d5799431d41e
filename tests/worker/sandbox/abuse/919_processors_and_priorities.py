# expect: stdout has CONTAINED: neither the scheduling nor the limits of init or of anybody else can be changed
# group: privilege
# what: Real-time scheduling, deadlines, priorities and affinities of others and of itself, limits of the run's init.
import ctypes, os, resource, struct
libc = ctypes.CDLL(None, use_errno=True)
hit = []
def attempt(name, act):
    try: act()
    except (OSError, ValueError): return
    hit.append(name)
attempt("fifo", lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)))
attempt("rr", lambda: os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1)))
attempt("nice", lambda: os.setpriority(os.PRIO_PROCESS, 0, -1))
for pid in (1, os.getppid() or 1):
    attempt("limits of %d" % pid, lambda: resource.prlimit(pid, resource.RLIMIT_CPU, (0, 0)))
    attempt("files of %d" % pid, lambda: resource.prlimit(pid, resource.RLIMIT_NOFILE, (0, 0)))
for kind in (resource.RLIMIT_NPROC, resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE, resource.RLIMIT_DATA, resource.RLIMIT_CPU):
    soft, hard = resource.getrlimit(kind)
    attempt("raise %d" % kind, lambda: resource.setrlimit(kind, (hard + 1, hard + 1)))
if libc.syscall(314, 0, ctypes.create_string_buffer(struct.pack("IIQiIQQQ", 48, 6, 0, 0, 0, 10**6, 10**7, 10**7)), 0) == 0: hit.append("deadline")
print("ESCAPED: " + ", ".join(hit) if hit else "CONTAINED")
