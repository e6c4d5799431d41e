# expect: stdout has CONTAINED: ten processes at a time, although each fork takes long and all wait for the ones before
# group: processes
# what: As 946, by a process whose page table takes tens of milliseconds to copy, so that allowed forks are slow to show.
import mmap
pages = mmap.mmap(-1, 160 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
if hasattr(mmap, "MADV_NOHUGEPAGE"): pages.madvise(mmap.MADV_NOHUGEPAGE)
for at in range(0, len(pages), 4096): pages[at] = 1
import ctypes, os, signal, threading, time
libc = ctypes.CDLL(None, use_errno=True)
gate, made = threading.Barrier(30), []
def fork(how):
    gate.wait()
    for _ in range(3):
        try:
            if how % 2: pid = os.fork()
            else:
                pid = libc.syscall(ctypes.c_long(56 if os.uname().machine == "x86_64" else 220), ctypes.c_long(signal.SIGCHLD), None, None, None, None)
                if pid < 0: continue
        except OSError: continue
        if pid == 0:
            while True: time.sleep(60)
        made.append(pid)
threads = [threading.Thread(target=fork, args=(n,)) for n in range(30)]
[t.start() for t in threads]; [t.join() for t in threads]
print("%d processes" % (len(made) + 1))
print("ESCAPED" if len(made) > 9 else "CONTAINED", flush=True)
[os.kill(pid, 9) for pid in made]
