# expect: status=disk, or stdout has CONTAINED: removed files count, whichever thread has them open
# group: disk
# what: A thread takes a descriptor table of its own and fills removed files with it.
import ctypes, os, threading, time
libc = ctypes.CDLL(None, use_errno=True)
def work():
    libc.syscall(436, 250, 250, 2)
    try:
        for _ in range(15):
            fd = os.open("x", os.O_CREAT | os.O_RDWR); os.unlink("x"); os.write(fd, bytes(90 << 20))
        time.sleep(0.3); print("ESCAPED: 1350 MB on disk")
    except OSError: print("CONTAINED")
thread = threading.Thread(target=work); thread.start(); thread.join()
