# expect: stdout has CONTAINED: no file of the host can be put in the place of one's own between question and answer
# group: neighbours
# what: One thread asks for flock on a descriptor, another changes what the descriptor stands for all the time.
import fcntl, os, threading, time
own, host = os.open("own", os.O_RDWR | os.O_CREAT), os.open(os.__file__, os.O_RDONLY)
target = os.dup(own)
end = time.monotonic() + 3
def swap():
    while time.monotonic() < end:
        os.dup2(host, target); os.dup2(own, target)
threading.Thread(target=swap).start()
while time.monotonic() < end:
    try: fcntl.flock(target, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError: pass
inode = os.fstat(host).st_ino
# a lock on the host's file would be shown beside a descriptor of it
held = [line for line in open("/proc/self/fdinfo/%d" % host) if line.startswith("lock:")]
print("ESCAPED: %s" % held if held else "CONTAINED")
