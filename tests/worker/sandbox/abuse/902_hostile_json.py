# expect: status=success; every event that comes out is strict JSON of the expected shape, the rest is counted as junk
# group: output
# what: NaN, infinities, duplicate keys, lone surrogates, huge numbers, deep nesting and wrong types on the event channel.
import os
def send(text): os.write(3, b"j" + text.encode("utf-8", "surrogatepass"))
def show(value): send('{"type": "display_data", "data": {"application/json": %s}, "metadata": {}}' % value)
for value in ("NaN", "-Infinity", "1e999", "-1e999", "9" * 3000, "[" * 1500 + "]" * 1500, '{"a": 1, "a": {"a": 2}}'): show(value)
for value in ('"\\ud800"', '"\\udfff\\ud800"', '"\ud83d"', '{"\\udc00": 1}', '"\\u0000"', "1" + "0" * 400 + ".5"): show(value)
for data in ("5", "null", "[]", '{"text/plain": 5}', '{"text/plain": {"a": []}}', '{"text/html": [1, 2]}', '{"text/html": ["a", "b"]}',
             '{"no slash": "x"}', '{"": ""}', '{"/": 0}', '{"text/plain": true}', '{"image/png": null}', '{"text/plain": "x", "text/plain": 7}'):
    send('{"type": "display_data", "data": %s, "metadata": {"a": 1e400}, "transient": []}' % data)
for text in ("", "x", "[]", "7", '"end"', "{}", '{"type": 1}', '{"type": null}', '{"type": ["end"]}', '{"type": "end", "type": "stream"}',
             '["EndReport"]', '["EndReport", 1, 2, 3, 4, 5]', '["Evidence"]', '["Kill"]', '["LauncherConfig", {}]'): send(text)
print("sent")
