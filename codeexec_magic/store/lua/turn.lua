-- The reconcilers' lock. ARGV: prefix, bare prefix, worker, how long
-- Returns 1 for the one whose turn it is.
even_when_full()
return redis.call('SET', P .. 'reconciler', ARGV[3], 'NX', 'PX', ARGV[4]) and 1 or 0
