# expect: status=success in under 5 s; threads and exit handlers that go on for ever are ended
# group: process
# what: Non-daemon threads, and an exit handler that starts more, print after the cell has ended.
import atexit, threading, time
def chatter(name):
    while True: print(name, flush=True); time.sleep(0.001)
def more():
    for i in range(3): threading.Thread(target=chatter, args=("late%d" % i,)).start()
    chatter("exit")
atexit.register(more)
for i in range(3): threading.Thread(target=chatter, args=("thread%d" % i,)).start()
print("main done")
