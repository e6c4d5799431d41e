# expect: status=memory, or the child is killed: a process whose first thread has ended holds memory all the same
# group: memory
# what: A child whose main thread ends alone, so that its entry in /proc shows no memory; another thread fills it.
import ctypes, mmap, os, threading, time
r, w = os.pipe(); libc, maps = ctypes.CDLL(None), []
def hold():
    time.sleep(0.2)
    for _ in range(28):
        m = mmap.mmap(-1, 50 << 20); maps.append(m)
        for at in range(0, len(m), 4096): m[at] = 1
    time.sleep(0.3); os.write(w, b"ESCAPED: 1400 MB"); os._exit(0)
if os.fork() == 0:
    threading.Thread(target=hold).start()
    libc.syscall(60 if os.uname().machine == "x86_64" else 93, 0)
os.close(w)
print(os.read(r, 100).decode() or "CONTAINED")
