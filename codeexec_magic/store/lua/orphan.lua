-- A supervisor starts its next worker: whatever the last one held is nobody's any more, so its leases end now.
-- ARGV: prefix, bare prefix, beginning of the attempt ids
-- Returns how many.
even_when_full()
local found = 0
for _, id in ipairs(redis.call('ZRANGE', running_key, 0, -1)) do
  local attempt = is_record(id) and redis.call('HGET', job_key(id), 'attempt')
  if attempt and string.sub(attempt, 1, #ARGV[3]) == ARGV[3] then
    redis.call('ZADD', running_key, 0, id)  -- by word, not by time: no doubt about clocks prolongs it
    found = found + 1
  end
end
return found
