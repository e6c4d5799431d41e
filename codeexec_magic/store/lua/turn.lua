-- The reconcilers' lock. ARGV: prefix, bare prefix, worker, how long
-- Returns 1 for the one whose turn it is.
even_when_full()
local key, hold = reconciler_key, tonumber(ARGV[4])
local left = redis.call('PTTL', key)
-- expiries are moments, too: one further away than anybody may hold it is left from before the clock was set back
if left > 0 and left <= hold then return 0 end
redis.call('SET', key, ARGV[3], 'PX', hold)
return 1
