# expect: stdout has CONTAINED: signals that wait, which count for the user, are few
# group: process
# what: Queues signals to itself that it never takes.
import ctypes, os, signal
libc = ctypes.CDLL(None, use_errno=True)
signal.pthread_sigmask(signal.SIG_BLOCK, [40])
n = 0
while n < 10000 and libc.sigqueue(os.getpid(), 40, ctypes.c_void_p(0)) == 0: n += 1
print("ESCAPED: %d signals wait" % n if n > 2000 else "CONTAINED")
