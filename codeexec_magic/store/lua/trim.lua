-- Remove the output of a finished job, but for its end. ARGV: prefix, bare prefix, id, generation, bytes, marker event,
--   result, request; an empty text leaves what there is.
-- Returns whether it did: 0 for a job that runs again, or was trimmed by somebody else.
even_when_full()
local id, record, events = ARGV[3], job_key(ARGV[3]), events_key(ARGV[3])
if not is_record(id) then return 0 end
local h = redis.call('HMGET', record, 'status', 'trimmed', 'generation')
if not TERMINAL[h[1] or ''] or h[2] or (h[3] or '') ~= ARGV[4] then return 0 end
local last = redis.call('XREVRANGE', events, '+', '-', 'COUNT', 1)[1]
if last then
  local ttl, finish = redis.call('PTTL', events), last[2][2]
  if ARGV[7] ~= '' then finish = '{"type":"end","status":"' .. h[1] .. '","result":' .. ARGV[7] .. '}' end
  redis.call('DEL', events)
  emit(id, ARGV[6])
  emit(id, finish)
  if ttl > 0 then redis.call('PEXPIRE', events, ttl) end
end
-- the cache does not answer with a job that has this mark
redis.call('HSET', record, 'trimmed', ARGV[5])
if ARGV[7] ~= '' then redis.call('HSET', record, 'result', ARGV[7]) end
if ARGV[8] ~= '' then redis.call('HSET', record, 'request', ARGV[8]) end
count('trimmed')
return 1
