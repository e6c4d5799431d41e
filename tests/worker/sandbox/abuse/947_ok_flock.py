# expect: stdout has ok: flock on files of the cell works, also when one has to wait, as file locking libraries use it
# group: legitimate
# what: An exclusive lock against another open file of the same name, waited for by a thread and by a child.
import fcntl, os, threading, time
first, second = open("lock", "w"), open("lock")
fcntl.flock(first, fcntl.LOCK_EX)
try: fcntl.flock(second, fcntl.LOCK_SH | fcntl.LOCK_NB); refused = False
except BlockingIOError: refused = True
waiter = threading.Thread(target=fcntl.flock, args=(second, fcntl.LOCK_EX)); waiter.start()
time.sleep(0.1); waited = waiter.is_alive()
fcntl.flock(first, fcntl.LOCK_UN); waiter.join(10)
pid = os.fork()
if pid == 0:
    fcntl.flock(first, fcntl.LOCK_EX); os._exit(7)
time.sleep(0.1); fcntl.flock(second, fcntl.LOCK_UN)
ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
print("ok" if refused and waited and not waiter.is_alive() and ended == 7 else "broken %r" % ((refused, waited, waiter.is_alive(), ended),))
