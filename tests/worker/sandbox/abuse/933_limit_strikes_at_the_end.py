# expect: status=success: a signal that comes while the report is written no longer hurts
# group: time
# what: Sends itself the soft limit's signal when the runner writes its report.
import json, os, signal
plain = json.dumps
def dumps(value, **options):
    if isinstance(value, dict) and value.get("type") == "end":
        for number in (signal.SIGINT, signal.SIGRTMAX - 7): os.kill(os.getpid(), number)
    return plain(value, **options)
json.dumps = dumps
print("done")
