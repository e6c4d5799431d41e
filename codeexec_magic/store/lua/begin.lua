-- ARGV: prefix, bare prefix, id, generation, attempt, worker, lease
-- Returns {verdict, ...}: run, done, stale, unknown.
even_when_full()
local id, generation, attempt, worker, lease = ARGV[3], ARGV[4], ARGV[5], ARGV[6], tonumber(ARGV[7])
local record = job_key(id)
if redis.call('EXISTS', record) == 1 and not is_record(id) then return {'unknown'} end
local h = redis.call('HMGET', record, 'status', 'generation', 'attempt', 'queue', 'queued_at', 'request')
local status = h[1]
if not status then return {'unknown'} end
if TERMINAL[status] then return {'done', status} end
if h[2] ~= generation then return {'stale', h[2]} end
if status == 'running' then
  -- the same worker asking again after a lost reply is no duplicate
  if h[3] ~= attempt then return {'stale', h[2]} end
elseif status ~= 'queued' then
  return {'stale', h[2]}
else
  local queue = h[4] or ''
  redis.call('ZREM', queued_key(queue), id)
  local runs = bump(id, 'runs', 1)
  local waited = math.max(0, now - (tonumber(h[5]) or now))
  bump(id, 'waited_ms', waited)
  observe('wait', queue, waited)
  redis.call('HSET', record, 'status', 'running', 'attempt', attempt, 'worker', worker, 'started_at', now, 'sent', 0)
  if redis.call('XLEN', events_key(id)) > 0 then forget_output(id) end
  emit(id, '{"type":"status","status":"running","attempt":' .. runs .. ',"worker":' .. cjson.encode(worker) .. ',"at":' .. now .. '}')
end
redis.call('ZADD', running_key, now + lease, id)
local r = redis.call('HMGET', record, 'runs', 'failures', 'crashes', 'waited_ms', 'started_at', 'attempts', 'submitted_at')
return {'run', h[6] or '', r[1], r[2] or 0, r[3] or 0, r[4], r[5], r[6] or '', r[7] or ''}
