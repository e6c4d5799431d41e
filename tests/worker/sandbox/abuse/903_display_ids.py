# expect: status=success; display ids are short texts, whatever was sent
# group: output
# what: Display ids that are huge, of other types, full of control characters, or never shown before.
import json, os
for name in ("x" * 3000, "", "\x00\x1b[2J", "<script>", "../../..", "a\nb", 7, None, [], {"a": 1}, True, 1e300):
    for kind in ("display_data", "update_display_data", "execute_result"):
        event = {"type": kind, "data": {"text/plain": "t"}, "metadata": {}, "transient": {"display_id": name, "more": name}}
        os.write(3, b"j" + json.dumps({**event, "execution_count": name, "extra": name}).encode())
print("shown")
