# expect: the result comes in under 5 s and a report forged late can at most make it worse; the writers are ended
# group: process
# what: Children keep writing to stdout and to the event channel after the cell's end, one of them reports an error.
import json, os, sys, time
request = next(f for f in iter(lambda f=[sys._getframe()]: f.__setitem__(0, f[0].f_back) or f[0], None) if isinstance(f.f_locals.get("request"), dict)).f_locals["request"]
late = {"type": "end", "token": request["token"], "status": "error", "error": {"ename": "Late", "evalue": "late"}}
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
