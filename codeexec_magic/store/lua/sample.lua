-- Note how things stand, for the history that monitors draw: totals that only grow, so that any two samples give the
-- rate between them. Whoever comes first within a period writes; the others find a fresh sample.
-- ARGV: prefix, bare prefix, period, how many are kept, queue...
-- Returns 1 if a sample was written.
local key, period = samples_key, tonumber(ARGV[3])
local last = redis.call('LINDEX', key, 0)
if last then
  local at = string.match(last, '^{"at":(%d+)')
  -- one from the future is left from before the clock was set back
  local since = at and now - tonumber(at)
  if since and since >= 0 and since < period * 0.9 then return 0 end
end

local c = {}
local flat = redis.call('HGETALL', counters_key)
for i = 1, #flat, 2 do c[flat[i]] = tonumber(flat[i + 1]) end

local ended = {succeeded = 0, failed = 0, dead_lettered = 0, cancelled = 0}
for name, value in pairs(c) do
  local status = string.match(name, '^ended:([^:]+):')
  if status and ended[status] then ended[status] = ended[status] + value end
end

local queues = {}
for i = 5, #ARGV do
  local name = ARGV[i]
  local first = redis.call('ZRANGE', queued_key(name), 0, 0, 'WITHSCORES')
  local waits = {}
  for _, bound in ipairs(BUCKETS) do table.insert(waits, c['hist:wait:' .. name .. ':' .. bound] or 0) end
  table.insert(waits, c['hist:wait:' .. name .. ':inf'] or 0)
  table.insert(queues, cjson.encode(name) .. ':' .. cjson.encode({
    depth = redis.call('ZCARD', queued_key(name)),
    oldest = first[2] and math.max(0, now - first[2]) or 0,
    wait = waits,
  }))
end

redis.call('LPUSH', key, '{"at":' .. string.format('%.0f', now) .. ',"running":' .. redis.call('ZCARD', running_key)
  .. ',"retrying":' .. redis.call('ZCARD', retrying_key) .. ',"dead":' .. redis.call('LLEN', dead_letters_key)
  .. ',"submitted":' .. (c.submitted or 0) .. ',"hits":' .. (c.cache_hits or 0)
  .. ',"ended":' .. cjson.encode(ended) .. ',"queues":{' .. table.concat(queues, ',') .. '}}')
redis.call('LTRIM', key, 0, tonumber(ARGV[4]) - 1)
redis.call('PEXPIRE', key, samples_expiry)
return 1
