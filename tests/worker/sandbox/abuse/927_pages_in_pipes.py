# expect: status=memory, or stdout has CONTAINED: a huge page of which a pipe holds a few bytes is memory
# group: memory
# what: Gives ten bytes of a huge page to a pipe by vmsplice and unmaps it, 700 times.
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True); libc.mmap.restype = ctypes.c_void_p; libc.vmsplice.restype = ctypes.c_long
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
class Vector(ctypes.Structure): _fields_ = [("base", ctypes.c_void_p), ("size", ctypes.c_size_t)]
def free(): return int(next(line for line in open("/proc/meminfo") if line.startswith("MemAvail")).split()[1]) >> 10
HUGE, before, pinned = 2 << 20, free(), 0
while pinned < 1400:
    r, w = os.pipe()
    for _ in range(15):
        place = libc.mmap(None, 2 * HUGE, 3, 0x22, -1, 0); first = (place + HUGE - 1) & -HUGE
        libc.madvise(ctypes.c_void_p(place), ctypes.c_size_t(2 * HUGE), 14); ctypes.memset(first, 1, 1)
        given = libc.vmsplice(w, ctypes.byref(Vector(first, 10)), ctypes.c_ulong(1), 2)
        libc.munmap(ctypes.c_void_p(place), ctypes.c_size_t(2 * HUGE))
        if given < 0: break
        pinned += 2
    if given < 0: break
print("ESCAPED: %d MB" % pinned if pinned >= 1400 and before - free() > 1200 else "CONTAINED")
