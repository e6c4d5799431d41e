-- Run a job that gave up again as the same job. ARGV: prefix, bare prefix, id, request or '', code hash, generation seen
-- Returns queued, alive (it runs, or somebody else was faster: nothing to do), succeeded, unknown, or gone (an input has
-- expired).
local id, request = ARGV[3], ARGV[4]
local record = job_key(id)
local h = redis.call('HMGET', record, 'status', 'queue', 'label', 'generation')
if not h[1] or not h[2] then return 'unknown' end
if h[1] == 'succeeded' then return 'succeeded' end
if not TERMINAL[h[1]] or (h[4] or '') ~= ARGV[6] then return 'alive' end
if hold_values(id, redis.call('HGET', record, 'values') or '') then return 'gone' end
undead(id)
-- those who were told the answer of the earlier run keep it, with its output: this record will tell of another one
for _, follower in ipairs(redis.call('LRANGE', followers_key(id), 0, -1)) do
  local key = job_key(follower)
  if redis.call('HGET', key, 'leader') == id then
    local shown = redis.call('HMGET', record, 'result', 'attempts', 'waited_ms', 'worker', 'runs', 'failures', 'crashes')
    for i, name in ipairs({'result', 'attempts', 'waited_ms', 'worker', 'runs', 'failures', 'crashes'}) do
      if shown[i] then redis.call('HSET', key, name, shown[i]) end
    end
    redis.call('HDEL', key, 'leader')
    if redis.call('COPY', events_key(id), events_key(follower), 'REPLACE') == 1 then
      redis.call('PEXPIRE', events_key(follower), math.max(1, redis.call('PTTL', key)))
    end
  end
end
redis.call('DEL', followers_key(id))
if request ~= '' then redis.call('HSET', record, 'request', request, 'code_hash', ARGV[5]) end
-- an edited or repeated run answers for itself alone: it neither fills nor uses the cache slot of the first one
redis.call('HDEL', record, 'result', 'reason', 'finished_at', 'cancel', 'leader', 'cached_age_ms', 'due_at',
  'failures', 'crashes', 'runs', 'attempts', 'waited_ms', 'flight', 'cache_key', 'worker', 'started_at',
  'closed', 'closed_as', 'dropped')
redis.call('PERSIST', record)
-- what the earlier runs wrote is told by the timeline; the stream starts anew with the new run
redis.call('DEL', events_key(id))
redis.call('ZREM', finished_key, id)
publish(id, h[2], h[3])
emit(id, '{"type":"status","status":"queued","reason":"requeued","at":' .. now .. '}')
count('requeued:by_user')
return 'queued'
