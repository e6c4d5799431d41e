# expect: status=memory: page tables are memory, however little they map
# group: memory
# what: Reads one byte in every 2 MB of 700 GB that were never written; every read costs a page table and nothing else.
import ctypes, time
libc = ctypes.CDLL(None, use_errno=True); libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
SIZE = 700 << 30
place = libc.mmap(None, SIZE, 1, 0x4022, -1, 0)
area = (ctypes.c_char * SIZE).from_address(place)
libc.madvise(ctypes.c_void_p(place), ctypes.c_size_t(SIZE), 15)
for at in range(0, SIZE, 2 << 20): area[at]
time.sleep(0.5)
print("ESCAPED: 1400 MB of page tables")
