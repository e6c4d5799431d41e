# expect: stdout has CONTAINED: what the kernel gives one user of the whole machine is not for a cell to use up
# group: fds
# what: Makes watchers of files, of which all users of the root account have 128 together.
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
n = 0
while n < 200 and libc.inotify_init1(0) >= 0: n += 1
print("ESCAPED: %d inotify instances" % n if n else "CONTAINED")
