# expect: stdout has CONTAINED: none of the newer calls gives a namespace, a mount, another's memory or a way round the filter
# group: privilege
# what: System calls from 424 on that do what older, refused ones do; numbers with the x32 bit, beyond the table, and with high bits set.
import ctypes, os, struct
libc = ctypes.CDLL(None, use_errno=True); libc.syscall.restype = ctypes.c_long
hit = []
def call(name, number, *args):
    wide = [ctypes.c_long(a) if isinstance(a, int) else a for a in args]
    result = libc.syscall(ctypes.c_long(number), *wide)
    if result >= 0: hit.append("%s=%d" % (name, result))
    return result
page = ctypes.create_string_buffer(4096)
me = os.pidfd_open(os.getpid())
call("clone3", 435, ctypes.create_string_buffer(struct.pack("11Q", 0x10000000, *[0] * 10)), 88)
call("open_tree", 428, -100, b"/", 1); call("open_tree_attr", 467, -100, b"/", 1, None, 0)
call("move_mount", 429, -100, b"/tmp", -100, b"/etc", 0); call("fsopen", 430, b"tmpfs", 0); call("fsopen proc", 430, b"proc", 0)
call("fspick", 433, -100, b"/", 0); call("mount_setattr", 442, -100, b"/", 0, page, 32)
call("statmount", 457, page, page, 4096, 0); call("listmount", 458, ctypes.create_string_buffer(struct.pack("IIQQQ", 32, 0, 2**64 - 1, 0, 0)), page, 8, 0)
call("io_uring_setup", 425, 8, page); call("pidfd_getfd", 438, me, 0, 0); call("process_madvise", 440, me, page, 1, 21, 0)
call("process_mrelease", 448, me, 0); call("memfd_secret", 447, 0); call("quotactl_fd", 443, os.open(".", os.O_RDONLY), 0, 0, 0)
call("set_mempolicy_home_node", 450, 0, 0, 0, 0); call("lsm_set_self_attr", 460, 100, page, 32, 0); call("listns", 470, page, page, 8, 0)
for bit in (0x40000000, 0x40000000 | 512):
    for number in (41, 57, 101, 165, 272, 425): call("x32 %#x" % (bit | number), bit | number, 0x10000000, 0, 0, 0)
for number in (-1, 0x7FFFFFFF, 1000, 5000): call("number %d" % number, number, 0, 0, 0)
call("unshare with high bits", (1 << 32) | 272, 0x10000000)
if os.uname().machine == "x86_64":
    import mmap
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(b"\x53\xb8\x14\x00\x00\x00\xcd\x80\x5b\xc3")  # push rbx; mov eax, getpid of i386; int 0x80; pop rbx; ret
    enter = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
    pid = os.fork()
    if pid == 0:
        os._exit(0 if enter() > 0 else 1)
    if os.waitpid(pid, 0)[1] == 0: hit.append("int 0x80")
print("ESCAPED: " + ", ".join(hit) if hit else "CONTAINED")
