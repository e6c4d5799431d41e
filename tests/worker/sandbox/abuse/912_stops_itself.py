# expect: status=timeout at the hard limit; what was printed is kept
# group: signals
# what: Raises interrupts against itself, then stops itself and a child, so that nobody answers the soft limit.
import os, signal
for _ in range(3):
    try: os.kill(os.getpid(), signal.SIGINT)
    except BaseException as e: print("caught", type(e).__name__)
if os.fork() == 0: os.kill(os.getpid(), signal.SIGSTOP)
print("stopping", flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
while True: pass
