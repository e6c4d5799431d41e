# expect: the run is killed (reason signal), and its verdict tells that only files of its own may be locked
# group: neighbours
# what: A lock by fcntl, which needs nobody's leave, on a device and on a library file that the host and all cells have.
import fcntl, os, time
fcntl.lockf(os.open("/dev/null", os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB)
fcntl.lockf(os.open(os.__file__, os.O_RDONLY), fcntl.LOCK_SH | fcntl.LOCK_NB)
print("locking", flush=True)
time.sleep(20)
print("ESCAPED: held locks on files of the host")
