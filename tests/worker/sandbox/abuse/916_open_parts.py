# expect: status=success or ended by the output limit; the worker's side holds no more than its limit of unfinished messages
# group: memory
# what: Begins thousands of messages in parts and finishes none; then finishes some with parts of others.
import os
print("parts")
for i in range(20_000): os.write(3, b"p" + i.to_bytes(8, "big") + b"\0" + b"x" * 4000)
for i in range(200): os.write(3, b"p" + i.to_bytes(8, "big") + b"\1" + b'{"type":"display_data","data":{"text/plain":"y"}}')
print("done")
