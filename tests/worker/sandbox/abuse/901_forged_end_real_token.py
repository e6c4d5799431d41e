# expect: status=failed with the ZeroDivisionError; a report forged with the run's own token changes nothing
# group: output
# what: Reads the run's token from the frames below it, reports success, then fails.
import json, os, sys
def find():
    frame = sys._getframe()
    while frame:
        request = frame.f_locals.get("request")
        if isinstance(request, dict) and "token" in request: return request["token"]
        frame = frame.f_back
token = find()
print("token" if token else "none")
os.write(3, b"j" + json.dumps({"type": "end", "token": token, "status": "ok", "code": 0, "values": {"forged": 1}}).encode())
1 / 0
