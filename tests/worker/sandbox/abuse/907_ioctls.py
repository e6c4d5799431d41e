# expect: stdout has CONTAINED: no terminal can be typed into, no namespace above is reached, no file system is changed
# group: privilege
# what: Control calls that reach past the object they are made on, also with the upper half of the number set.
import ctypes, fcntl, os, socket, struct
libc = ctypes.CDLL(None, use_errno=True)
hit, fds = [], [0, 1, 2, 3]
for path in ("/dev/tty", "/dev/ptmx", "/dev/pts/ptmx", "/dev/console", "/dev/tty0", "/dev/kmsg", "/dev/net/tun", "/dev/fuse", "/dev/kvm", "/dev/loop-control", "/dev/mem", "/"):
    try: fds.append(os.open(path, os.O_RDONLY))
    except OSError: pass
buffer = ctypes.create_string_buffer(4096)
def control(name, fd, number, argument=buffer):
    if libc.ioctl(fd, ctypes.c_ulong(number), argument) >= 0: hit.append("%s on %d" % (name, fd))
for fd in fds:
    for high in (0, 1 << 32, 0xFFFFFFFF << 32):
        control("TIOCSTI", fd, high | 0x5412); control("TIOCLINUX", fd, high | 0x541C)
    control("TIOCSCTTY", fd, 0x540E); control("TIOCCONS", fd, 0x541D); control("VT_ACTIVATE", fd, 0x5606)
    control("FIFREEZE", fd, 0xC0045877); control("FITRIM", fd, 0xC0185879); control("FS_IOC_SETFLAGS immutable", fd, 0x40086602, ctypes.create_string_buffer(struct.pack("l", 0x10)))
for name in ("user", "pid", "net", "mnt"):
    try: fd = os.open("/proc/self/ns/" + name, os.O_RDONLY)
    except OSError: continue
    for label, number in (("NS_GET_USERNS", 0xB701), ("NS_GET_PARENT", 0xB702)):
        if label == "NS_GET_USERNS" and name != "user": continue
        control(label + " " + name, fd, number, None)
try:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for label, number in (("SIOCSIFADDR", 0x8916), ("SIOCADDRT", 0x890B), ("SIOCSIFNAME", 0x8923), ("SIOCBRADDBR", 0x89A0)):
            control(label, sock.fileno(), number, ctypes.create_string_buffer(b"lo".ljust(64, b"\0")))
except OSError: pass
print("ESCAPED: " + ", ".join(hit) if hit else "CONTAINED")
