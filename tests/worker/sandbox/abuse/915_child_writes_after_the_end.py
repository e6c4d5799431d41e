# expect: the result comes in under 5 s and a report forged late can at most make it worse; the writers are ended
# group: process
# what: Children keep writing to stdout and to the event channel after the cell's end, one of them reports an error.
import json, os, sys, time
def find():
    frame = sys._getframe()
    while not hasattr(frame.f_locals.get("request"), "token"): frame = frame.f_back
    return frame.f_locals["request"].token
late = ["EndReport", find(), "error", 1, {"ename": "Late", "evalue": "late"}, None]
main = os.getpid()
for i in range(4):
    if os.fork() == 0:
        os.setsid()
        while os.path.exists("/proc/%d/stat" % main): time.sleep(0.001)
        while True:
            try:
                os.write(1, b"after\n"); os.write(3, b"j" + json.dumps(late).encode()); os.write(3, b'j{"type":"clear_output"}')
            except BaseException: pass
print("main done")
