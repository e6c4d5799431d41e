# expect: status=disk, or stdout has CONTAINED: a removed file that is only mapped counts
# group: disk
# what: Maps one page of a file, removes it, fills it and closes it, 15 times.
import ctypes, os, time
libc = ctypes.CDLL(None, use_errno=True); libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
try:
    for _ in range(15):
        fd = os.open("x", os.O_CREAT | os.O_RDWR); os.unlink("x"); libc.mmap(None, 4096, 1, 1, fd, 0)
        os.write(fd, bytes(90 << 20)); os.close(fd)
    time.sleep(0.3); print("ESCAPED: 1350 MB on disk")
except OSError: print("CONTAINED")
