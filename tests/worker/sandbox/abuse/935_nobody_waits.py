# expect: status=cpu: the time of children that are never waited for counts as well
# group: time
# what: Ignores the end of its children, so that the kernel adds their time to nobody's, and lets short ones burn it.
import os, signal, time
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
end = time.monotonic() + 20
while time.monotonic() < end:
    try: pid = os.fork()
    except OSError:
        time.sleep(0.001); continue
    if pid == 0:
        until = time.process_time() + 0.06
        while time.process_time() < until: pass
        os._exit(0)
print("ESCAPED: nobody counts")
