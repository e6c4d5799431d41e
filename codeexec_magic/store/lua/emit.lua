-- Append output events and renew the lease, if the attempt is still the open one.
-- ARGV: prefix, dead, id, attempt, lease, event...
-- Returns fenced, cancel or ok.
local id, attempt = ARGV[3], ARGV[4]
local h = redis.call('HMGET', job_key(id), 'attempt', 'cancel')
if h[1] ~= attempt then return 'fenced' end
redis.call('ZADD', P .. 'running', now + tonumber(ARGV[5]), id)
for i = 6, #ARGV do emit(id, ARGV[i]) end
if h[2] then return 'cancel' end
return 'ok'
