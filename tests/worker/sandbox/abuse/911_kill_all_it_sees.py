# expect: nobody outside of the run is hurt; the run ends as success or by a signal
# group: process
# what: Stops, then kills every process that /proc shows, each by number, by group, by thread and by descriptor, its own last.
import os, signal, ctypes
libc = ctypes.CDLL(None, use_errno=True)
print("killing", flush=True)
try: pids = sorted({int(n) for n in os.listdir("/proc") if n.isdigit()} | set(range(1, 40)))
except OSError: pids = list(range(1, 8000))
for number in (signal.SIGSTOP, signal.SIGTERM, signal.SIGKILL):
    for pid in pids:
        if pid in (os.getpid(), os.getpgrp()): continue
        for act in (lambda: os.kill(pid, number), lambda: os.killpg(pid, number), lambda: signal.pidfd_send_signal(os.pidfd_open(pid), number)):
            try: act()
            except OSError: pass
        libc.tgkill(pid, pid, number)
print("still here")
