# expect: stdout has CONTAINED: ten processes at a time, however many threads ask for more at once
# group: processes
# what: Thirty threads fork at the same moment, by fork, vfork and clone with flags of threads on processes.
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
