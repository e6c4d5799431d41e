-- Append output events and renew the lease, if the attempt is still the open one. A caller that lost the reply sends
-- them again: each event has its number within the attempt, and what is there already is left out.
-- ARGV: prefix, bare prefix, id, attempt, lease, number of the first event, event...
-- Returns fenced, cancel or ok.
local id, attempt = ARGV[3], ARGV[4]
local h = redis.call('HMGET', job_key(id), 'attempt', 'cancel', 'sent')
if h[1] ~= attempt then return 'fenced' end
redis.call('ZADD', running_key, now + tonumber(ARGV[5]), id)
emit_numbered(id, tonumber(h[3]) or 0, tonumber(ARGV[6]), 7)
if h[2] then return 'cancel' end
return 'ok'
