-- A worker says that it is alive and what it offers.
-- ARGV: prefix, bare prefix, worker, ttl, environment, about, field, value, ..., '--', queue...
even_when_full()
local DAY = 86400000
local worker, ttl, environment, about = ARGV[3], tonumber(ARGV[4]), ARGV[5], ARGV[6]
local key, i = P .. 'worker:' .. worker, 7
while ARGV[i] ~= '--' do
  redis.call('HSET', key, ARGV[i], ARGV[i + 1])
  i = i + 2
end
redis.call('HSET', key, 'seen_at', now)
redis.call('PEXPIRE', key, ttl)
redis.call('ZADD', P .. 'workers', now, worker)
redis.call('PEXPIRE', P .. 'workers', DAY)
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', P .. 'workers', '-inf', now - DAY)) do forget_worker(gone) end
for q = i + 1, #ARGV do
  local queue = ARGV[q]
  redis.call('ZADD', P .. 'listeners:' .. queue, now, worker)
  redis.call('ZREMRANGEBYSCORE', P .. 'listeners:' .. queue, '-inf', now - ttl)
  redis.call('PEXPIRE', P .. 'listeners:' .. queue, ttl)
  -- these outlive the worker: a cached result needs nobody to be there
  redis.call('HSET', P .. 'environments', queue, environment)
  redis.call('HSET', P .. 'queues', queue, about)
end
return now
