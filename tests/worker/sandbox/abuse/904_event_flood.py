# expect: the run ends with the output limit, or its events are cut; never more of them than the limit of bytes allows
# group: output
# what: The smallest events there are, as many as fit into the time.
import os
message = b'j{"type":"clear_output"}'
print("flooding")
for _ in range(400_000): os.write(3, message)
print("done")
