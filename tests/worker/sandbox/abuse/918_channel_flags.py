# expect: status=success or failed, never internal; flags of the shared pipes hurt only the cell
# group: output
# what: Takes the packet mode off the event channel, makes it non-blocking, shrinks its pipe, asks for signals, locks and leases on it.
import fcntl, os
print("before")
for fd in (1, 2, 3):
    for act in (lambda: fcntl.fcntl(fd, 1031, 4096), lambda: fcntl.fcntl(fd, fcntl.F_SETFL, os.O_NONBLOCK | os.O_ASYNC), lambda: fcntl.fcntl(fd, fcntl.F_SETOWN, 1),
                lambda: fcntl.fcntl(fd, fcntl.F_SETOWN, -1), lambda: fcntl.fcntl(fd, 10, 9), lambda: fcntl.fcntl(fd, 1024, 1), lambda: fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)):
        try: act()
        except OSError: pass
for i in range(2000):
    try: os.write(3, b"o" + b"x" * 1000)
    except BlockingIOError: pass
fcntl.fcntl(3, fcntl.F_SETFL, 0)
print("after")
