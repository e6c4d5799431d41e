-- Take it on to tell of a new dead letter. Who dies before it has told holds it for a while only.
-- ARGV: prefix, bare prefix, id, how long
-- Returns 1 if it is the caller's to tell.
even_when_full()
local waiting_since = redis.call('ZSCORE', alerts_key, ARGV[3])
if not waiting_since or tonumber(waiting_since) > now then return 0 end
redis.call('ZADD', alerts_key, now + tonumber(ARGV[4]), ARGV[3])
return 1
