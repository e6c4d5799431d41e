# expect: the result is small and has no value that nobody asked for
# group: output
# what: With the real token reports values and an error of megabytes, thousands of traceback lines and wrong types.
import json, os, sys
def find():
    frame = sys._getframe()
    while not hasattr(frame.f_locals.get("request"), "token"): frame = frame.f_back
    return frame.f_locals["request"].token
token = find()
def report(status, code, error, values):
    data = json.dumps(["EndReport", token, status, code, error, values], separators=(",", ":")).encode()
    name = os.urandom(8)
    for start in range(0, len(data), 4000):
        os.write(3, b"p" + name + bytes([start + 4000 >= len(data)]) + data[start:start + 4000])
report("ok", 0, None, [["v" * 3_000_000, 1], ["more", 1e308]] + [["f", 1]] * 99_999)
error = {"ename": "E" * 100_000, "evalue": "v" * 500_000, "traceback": ["t" * 10_000] * 90, "kinds": ["MemoryError"] * 9, "errno": 28}
report("error", 0, error, None)
report("error", [], 7, "x")
print("reported", flush=True)
os._exit(0)
