# expect: stdout has CONTAINED: attributes of a host file stay what they are, whatever user the cell has
# group: neighbours
# what: FS_IOC_SETFLAGS and FS_IOC_FSSETXATTR on a library file, by a descriptor that only reads; also with the upper half of the number set.
import ctypes, fcntl, os, struct, email
libc = ctypes.CDLL(None, use_errno=True)
hit = []
for path in (email.__file__, os.path.dirname(email.__file__)):
    fd = os.open(path, os.O_RDONLY)
    for high in (0, 1 << 32):
        for name, number, data in (("SETFLAGS", 0x40086602, struct.pack("l", 0x40)), ("FSSETXATTR", 0x401C5820, struct.pack("IIIII8x", 0x80, 0, 0, 0, 0)), ("SETVERSION", 0x40087602, struct.pack("l", 1)), ("SETPROJ", 0x40046613, bytes(8)), ("FICLONE", 0x40049409, bytes(8)), ("EXT4 MOVE_EXT", 0xC028660F, bytes(64))):
            if libc.ioctl(fd, ctypes.c_ulong(high | number), ctypes.create_string_buffer(data, 128)) >= 0: hit.append("%s on %s" % (name, path))
print("ESCAPED: " + ", ".join(hit) if hit else "CONTAINED")
