-- ARGV: prefix, bare prefix, id, result ttl
-- Returns the status after the call; a running job only gets the order, its worker ends it.
even_when_full()
local id, ttl = ARGV[3], tonumber(ARGV[4])
local record = job_key(id)
local h = redis.call('HMGET', record, 'status', 'queue', 'attempt', 'leader')
local status = h[1]
if not status then return 'unknown' end
if TERMINAL[status] then return status end
if status == 'running' then
  redis.call('HSET', record, 'cancel', 1)
  redis.call('PUBLISH', control_key, cjson.encode({cancel = id, attempt = h[3]}))
  return 'running'
end
if h[4] then
  redis.call('LREM', followers_key(h[4]), 1, id)
  redis.call('HDEL', record, 'leader')
else
  redis.call('ZREM', queued_key(h[2]), id)
  redis.call('ZREM', retrying_key, id)
  hand_over(id)
end
settle(id, 'cancelled', 'cancelled', ttl)
emit(id, '{"type":"end","status":"cancelled"}')
redis.call('PEXPIRE', events_key(id), ttl)
return 'cancelled'
