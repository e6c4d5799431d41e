# expect: status=failed: the process left before the cell's end, although it exits 0 and writes a report of its own
# group: output
# what: Replaces itself by a shell that has the event channel and reports success.
import os
os.set_inheritable(3, True)
report = '{"type":"end","status":"ok","code":0,"token":"%s"}' % ("0" * 32)
os.execv("/bin/sh", ["sh", "-c", "echo replaced; printf 'j%s' '" + report + "' >&3; exit 0"])
