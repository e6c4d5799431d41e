-- ARGV: prefix, bare prefix, id, request, queue, label, cache mode, cache key, max queue, code hash, result ttl, cache ttl,
--       retry policy, hashes of the stored values that are its inputs, JSON of the hashes of all inputs by name or ''
-- Returns {outcome, ...}: hit, follow, queued, full, known, gone (an input has expired).
local id, request, queue, label, mode, key = ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8]
local ttl, cache_ttl = tonumber(ARGV[11]), tonumber(ARGV[12])
local record = job_key(id)

-- a client that lost the reply sends again: the first submission stands
if redis.call('EXISTS', record) == 1 then return {'known'} end

local values = ARGV[14] or ''
local listeners = redis.call('ZCOUNT', listeners_key(queue), now - LISTENING, '+inf')

for hash in string.gmatch(values, '%x+') do
  if redis.call('EXISTS', value_key(hash)) == 0 then return {'gone', hash} end
end

local function create(...)
  if values ~= '' then
    redis.call('HSET', record, 'values', values)
    hold_values(id, values)
  end
  redis.call('HSET', record, 'request', request, 'queue', queue, 'label', label, 'code_hash', ARGV[10],
    'retry_policy', ARGV[13], 'submitted_at', now, 'queued_at', now, ...)
  -- finer than a millisecond: jobs submitted within one keep their order
  redis.call('ZADD', jobs_key, clock[1] * 1000 + clock[2] / 1000, id)
  count('submitted')
end

local environment = redis.call('HGET', environments_key, queue) or 'unknown'
-- a job waits in the queue it was submitted to, so it follows jobs of that queue only
local flight = inflight_key(queue, key, environment)

if mode == 'use' then
  local hit = redis.call('HMGET', cache_key(key, environment), 'origin', 'at')
  local origin = hit[1]
  local age = origin and math.max(0, now - hit[2])
  local there = origin and is_record(origin) and redis.call('HMGET', job_key(origin), 'status', 'trimmed') or {}
  if there[1] and not there[2] and age < cache_ttl then
    create('leader', origin, 'cached_age_ms', age, 'status', 'queued')
    settle(id, 'succeeded', 'ok', ttl)
    count('cache_hits')
    -- the original run must outlive everyone who shows it
    for _, shown in ipairs({job_key(origin), events_key(origin)}) do
      if redis.call('PTTL', shown) < ttl and redis.call('PTTL', shown) > 0 then redis.call('PEXPIRE', shown, ttl) end
    end
    return {'hit', origin, age, redis.call('HGET', job_key(origin), 'result'),
      redis.call('XRANGE', events_key(origin), '-', '+'), now}
  end
  local leader = redis.call('GET', flight)
  if leader then
    local status = redis.call('HGET', job_key(leader), 'status')
    if status and not TERMINAL[status] then
      local waiting = redis.call('LLEN', followers_key(leader))
      if waiting >= tonumber(ARGV[9]) then return {'full', waiting} end
      create('leader', leader, 'status', 'queued')
      redis.call('RPUSH', followers_key(leader), id)
      count('followed')
      return {'follow', leader, listeners}
    end
  end
end

local depth = redis.call('ZCARD', queued_key(queue))
-- a cancelled job leaves its message behind until a worker reads it, and there may be none
local full = math.max(depth, redis.call('LLEN', messages_key(queue)))
if full >= tonumber(ARGV[9]) then return {'full', full} end

local mine = mode == 'use'
-- which inputs are others than when this code was last run: they are why it runs again
local changed = ''
if ARGV[15] ~= '' then
  local names = {}
  local before = redis.call('GET', last_inputs_key(ARGV[10]))
  local ok, last = pcall(cjson.decode, before or '')
  if ok and type(last) == 'table' then
    for name, hash in pairs(cjson.decode(ARGV[15])) do
      if last[name] and last[name] ~= hash then table.insert(names, name) end
    end
    table.sort(names)
  end
  changed = table.concat(names, ',')
  redis.call('SET', last_inputs_key(ARGV[10]), ARGV[15], 'PX', cache_ttl)
end
create('changed', changed, 'flight', mine and flight or '', 'cache_key', mode ~= 'off' and key or '')
if mine then redis.call('SET', flight, id) end
publish(id, queue, label)
return {'queued', depth + 1, listeners}
