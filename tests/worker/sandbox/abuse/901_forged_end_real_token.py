# expect: status=failed with the ZeroDivisionError; a report forged with the run's own token changes nothing
# group: output
# what: Reads the run's token from the frames below it, reports success, then fails.
import json, os, sys
def find():
    frame = sys._getframe()
    while frame:
        token = getattr(frame.f_locals.get("request"), "token", None)
        if token: return token
        frame = frame.f_back
token = find()
print("token" if token else "none")
os.write(3, b"j" + json.dumps(["EndReport", token, "ok", 0, None, [["forged", 1]]], separators=(",", ":")).encode())
1 / 0
