# expect: the result is small and has no value that nobody asked for
# group: output
# what: With the real token reports values and an error of megabytes, thousands of traceback lines and wrong types.
import json, os, sys
def find():
    frame = sys._getframe()
    while not isinstance(frame.f_locals.get("request"), dict): frame = frame.f_back
    return frame.f_locals["request"]["token"]
token = find()
def report(**fields):
    data, name = json.dumps({"type": "end", "token": token, **fields}).encode(), os.urandom(8)
    for start in range(0, len(data), 4000):
        os.write(3, b"p" + name + bytes([start + 4000 >= len(data)]) + data[start:start + 4000])
report(status="ok", code=0, values={"stolen": "v" * 3_000_000, "more": [[1e308] * 9] * 9})
error = {"ename": "E" * 100_000, "evalue": "v" * 500_000, "traceback": ["t" * 10_000] * 90, "kinds": ["MemoryError"] * 9, "errno": 28}
report(status="error", error=error, code=0)
print("reported", flush=True)
os._exit(0)
