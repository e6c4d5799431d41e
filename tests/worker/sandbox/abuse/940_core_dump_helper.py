# expect: stdout has CONTAINED: no crash reaches the host's program for core dumps, whatever the limit is set to
# group: neighbours
# what: Sets the limit of core files to each value, by each call, and reads what the kernel has; a piped core_pattern is off at 1 alone.
import ctypes, os, resource, struct
libc = ctypes.CDLL(None, use_errno=True)
for value in (0, 1 << 20, resource.RLIM_INFINITY):
    for pair in ((value, value), (0, value), (value, 1)):
        try: resource.setrlimit(resource.RLIMIT_CORE, pair)
        except (OSError, ValueError): pass
        libc.syscall(160 if os.uname().machine == "x86_64" else 164, 4, struct.pack("QQ", 0, 0))
def limit(): return [line.split()[4:6] for line in open("/proc/self/limits") if line.startswith("Max core")][0]
pid = os.fork()
if pid == 0:
    try: resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (OSError, ValueError): pass
    os._exit(0 if resource.getrlimit(resource.RLIMIT_CORE) == (1, 1) else 9)
print("CONTAINED" if limit() == ["1", "1"] and os.waitpid(pid, 0)[1] == 0 else "ESCAPED: core dumps are on")
