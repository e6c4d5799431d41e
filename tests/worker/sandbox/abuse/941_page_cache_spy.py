# expect: stdout has CONTAINED: the kernel does not say which files others have read, and does not forget them for a cell
# group: neighbours
# what: cachestat, preadv2 with RWF_NOWAIT, fadvise(DONTNEED) and mincore on files of the host; merging of equal pages; a scheduling cookie.
import ctypes, mmap, os
libc = ctypes.CDLL(None, use_errno=True); libc.syscall.restype = ctypes.c_long
hit = []
fd = os.open(os.__file__, os.O_RDONLY)
if libc.syscall(ctypes.c_long(451), fd, ctypes.create_string_buffer(16), ctypes.create_string_buffer(64), 0) >= 0: hit.append("cachestat")
buffer = bytearray(16)
os.preadv(fd, [buffer], 0)
try: os.preadv(fd, [buffer], 0, os.RWF_NOWAIT); hit.append("RWF_NOWAIT")
except OSError: pass
os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)  # succeeds, and does nothing: advice may be ignored
page = mmap.mmap(-1, 4096)
try: page.madvise(12); hit.append("MADV_MERGEABLE")
except (OSError, ValueError): pass
for name, option, args in (("PR_SET_MEMORY_MERGE", 67, (1, 0, 0, 0)), ("PR_SCHED_CORE", 62, (1, 0, 0, 0)), ("PR_SET_SECCOMP", 22, (2, 0, 0, 0))):
    ctypes.set_errno(0)
    if libc.prctl(option, *[ctypes.c_ulong(a) for a in args]) >= 0 or ctypes.get_errno() == 14: hit.append(name)
print("ESCAPED: " + ", ".join(hit) if hit else "CONTAINED")
