-- A worker says that it is alive and what it offers.
-- ARGV: prefix, bare prefix, worker, environment, about, field, value, ..., '--', queue...
even_when_full()
local worker, environment, about = ARGV[3], ARGV[4], ARGV[5]
local key, i = worker_key(worker), 6
while ARGV[i] ~= '--' do
  redis.call('HSET', key, ARGV[i], ARGV[i + 1])
  i = i + 2
end
redis.call('HSET', key, 'seen_at', now)
redis.call('PEXPIRE', key, worker_expiry)
redis.call('ZADD', workers_key, now, worker)
redis.call('PEXPIRE', workers_key, workers_expiry)
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', workers_key, '-inf', now - workers_expiry)) do forget_worker(gone) end
for q = i + 1, #ARGV do
  local queue = ARGV[q]
  redis.call('ZADD', listeners_key(queue), now, worker)
  redis.call('ZREMRANGEBYSCORE', listeners_key(queue), '-inf', now - listeners_expiry)
  redis.call('PEXPIRE', listeners_key(queue), listeners_expiry)
  -- these outlive the worker: a cached result needs nobody to be there
  redis.call('HSET', environments_key, queue, environment)
  redis.call('HSET', queues_key, queue, about)
end
return now
