# expect: stdout has CONTAINED: contexts for asynchronous input and output, of which the machine has fs.aio-max-nr, are not for a cell
# group: neighbours
# what: Makes as many as it can get with io_setup.
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True); libc.syscall.restype = ctypes.c_long
number = 206 if os.uname().machine == "x86_64" else 0
n = 0
for size in (32000, 8000, 1000, 100, 10, 1):
    for _ in range(64):
        context = ctypes.c_ulong(0)
        if libc.syscall(ctypes.c_long(number), ctypes.c_long(size), ctypes.byref(context)): break
        n += size
print("ESCAPED: %d events of the machine's" % n if n else "CONTAINED")
