-- The reconciler's periodic pass: due retries go back to their queue, messages the broker lost are sent again, and
-- the indexes forget expired jobs.
-- ARGV: prefix, bare prefix, grace, result ttl, lease, doubt (0/1), queue...
-- Returns {due, lost, now, ids of jobs whose lease has run out...}.
even_when_full()
local QUEUES = 7  -- where they begin in ARGV
local grace, ttl, lease, doubt = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6] == '1'
local due, lost = 0, 0

-- The server's clock was set back: what was due in five seconds still is. Set forward, retries are due at once.
local told = redis.call('GET', clock_key)
local before = tonumber(told or now)
redis.call('SET', clock_key, now, 'PX', clock_expiry)
if before - now > 1000 then
  doubt = true  -- a lease that was renewed since then has an end that was right already
  local keys = {running_key, retrying_key, alerts_key, workers_key}
  for i = QUEUES, #ARGV do
    table.insert(keys, queued_key(ARGV[i]))
    table.insert(keys, listeners_key(ARGV[i]))
  end
  for _, key in ipairs(keys) do
    for _, id in ipairs(redis.call('ZRANGE', key, 0, -1)) do redis.call('ZINCRBY', key, now - before, id) end
  end
  for _, id in ipairs(redis.call('ZRANGE', retrying_key, 0, -1)) do
    if is_record(id) then bump(id, 'due_at', now - before) end
  end
end

-- Every worker repairs each second. If nobody has for so long that leases may have run out in between (an outage, a
-- machine that slept, a clock set forward), or the caller saw something like that, their holders get time to renew.
if doubt or not told or now - before > math.max(0.75 * lease, 3000) then
  local until_then = now + lease / 2
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', running_key, '(0', until_then)) do
    redis.call('ZADD', running_key, until_then, id)
  end
end

local function send_again(id, front)
  if not is_record(id) then return false end
  local h = redis.call('HMGET', job_key(id), 'queue', 'label')
  if h[1] then publish(id, h[1], h[2], front) end
  return h[1]
end

-- Whether a queued job has been without a message for the grace time. A worker that has just taken the message needs a
-- moment to begin; how long the job waited before that says nothing.
local function lost_for_good(id)
  local h = redis.call('HMGET', job_key(id), 'status', 'generation', 'without_message')
  if h[1] ~= 'queued' then return false end
  local publication = (h[2] or '') .. ':'
  local since = h[3] and string.sub(h[3], 1, #publication) == publication and tonumber(string.sub(h[3], #publication + 1))
  if not since or since > now then
    since = now
    redis.call('HSET', job_key(id), 'without_message', publication .. string.format('%.0f', now))
  end
  return now - since >= grace
end

for _, id in ipairs(redis.call('ZRANGEBYSCORE', retrying_key, '-inf', now, 'LIMIT', 0, 100)) do
  redis.call('ZREM', retrying_key, id)
  if send_again(id) then
    emit(id, '{"type":"status","status":"queued","at":' .. now .. '}')
    due = due + 1
  end
end

-- Messages and the queued index are written together and in the same order. So a job that is older than the message
-- next in line, and still queued, has no message any more: BRPOP hands it to a worker before anything records that
-- (kombu#305), and that worker died in between.
for i = QUEUES, #ARGV do
  local queue = ARGV[i]
  local limit = '+inf'  -- no messages at all
  local head = redis.call('LINDEX', messages_key(queue), -1)
  if head then
    local ok, id, tag = pcall(function()
      local message = cjson.decode(head)
      return message.headers.id, message.properties.delivery_tag
    end)
    local score = ok and type(id) == 'string' and is_record(id) and redis.call('ZSCORE', queued_key(queue), id)
    -- a message of a job that no longer waits, or waits again further back, or none of ours: the next worker drops it,
    -- look again then
    if score and tag ~= id .. ':' .. (redis.call('HGET', job_key(id), 'generation') or '') then score = nil end
    -- written out in full: Lua's own conversion keeps 14 digits, which rounds a score up past itself
    limit = score and string.format('(%.17g', score) or '-inf'
  end
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', queued_key(queue), '-inf', limit, 'LIMIT', 0, 100)) do
    if not is_record(id) or redis.call('HGET', job_key(id), 'status') ~= 'queued' then
      redis.call('ZREM', queued_key(queue), id)
    elseif lost_for_good(id) then
      redis.call('ZREM', queued_key(queue), id)
      if send_again(id, true) then lost = lost + 1 end  -- it had been next
    end
  end
end
if due > 0 then count('retries_sent', due) end
if lost > 0 then count('messages_lost', lost) end

for _, id in ipairs(redis.call('ZRANGEBYSCORE', finished_key, '-inf', now - ttl, 'LIMIT', 0, 1000)) do
  if redis.call('EXISTS', job_key(id)) == 0 then
    redis.call('ZREM', finished_key, id)
    redis.call('ZREM', jobs_key, id)
  else
    -- kept alive by the cache or the dead letters: look again later
    redis.call('ZADD', finished_key, now, id)
  end
end

local answer = redis.call('ZRANGEBYSCORE', running_key, '-inf', now, 'LIMIT', 0, 100)
table.insert(answer, 1, now)
table.insert(answer, 1, lost)
table.insert(answer, 1, due)
return answer
