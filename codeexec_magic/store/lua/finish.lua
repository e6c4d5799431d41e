-- Close an attempt. Only the holder of the open attempt id can: a worker that was taken for dead and comes back is
-- fenced out. The reconciler closes attempts of dead workers by the same script, then only if the lease has run out.
-- ARGV: prefix, bare prefix, id, attempt, only if expired (0/1), action, status, reason, result, attempt record, delay,
--       dead letter, result ttl, cache ttl, environment, dead letter limit, charge (failures|crashes|none),
--       shared with (all|policy|none), number of the first event within the attempt or nothing, event...
-- Actions: end, retry (after delay), again (queue at once). Returns {verdict, followers...}.
-- "Shared with" says which followers the attempt answers for. An outcome that another try may change answers only for
-- those with the leader's retry policy: the submitters of the others were promised other tries or other waits.
local id, attempt, action, status, reason = ARGV[3], ARGV[4], ARGV[6], ARGV[7], ARGV[8]
local ttl, cache_ttl, charge = tonumber(ARGV[13]), tonumber(ARGV[14]), ARGV[17]
local shared_with, EVENTS = ARGV[18], 20
local record = job_key(id)
local h = redis.call('HMGET', record, 'attempt', 'queue', 'label', 'attempts', 'cache_key', 'runs', 'started_at', 'cancel',
  'sent', 'closed', 'closed_as', 'retry_policy')
local queue, runs = h[2] or '', string.format('%d', tonumber(h[6] or '') or 0)
if attempt == '' then return {'fenced'} end
-- the same word by the same holder; a reconciler's close of its attempt is not its own
local close = ARGV[5] .. ':' .. attempt .. ':' .. action .. ':' .. status .. ':' .. reason
if h[1] ~= attempt then return {h[10] == close and h[11] or 'fenced'} end
if ARGV[5] == '1' then
  local lease = redis.call('ZSCORE', running_key, id)
  if lease and tonumber(lease) > now then return {'alive'} end
end
local size = #ARGV[9] + #ARGV[12]
for i = EVENTS, #ARGV do size = size + #ARGV[i] end
if size <= SMALL then even_when_full() end  -- a larger outcome waits for room
emit_numbered(id, tonumber(h[9]) or 0, tonumber(ARGV[19]), EVENTS)
redis.call('ZREM', running_key, id)

local function closed_as(verdict)
  redis.call('HSET', record, 'closed', close, 'closed_as', verdict)
  return verdict
end

if ARGV[10] ~= '' then
  local told = h[4] and h[4] ~= '' and (h[4] .. ',') or ''
  redis.call('HSET', record, 'attempts', told .. ARGV[10])
end
if charge ~= 'none' then bump(id, charge, 1) end
redis.call('HSET', record, 'reason', reason)
count('attempts:' .. queue .. ':' .. reason)
if tonumber(h[7] or '') then observe('run', queue, math.max(0, now - h[7])) end

if action ~= 'end' and h[8] then
  -- the user cancelled it while its worker died or shut down, or just before a retry: it does not run again
  hand_over(id)
  settle(id, 'cancelled', 'cancelled', ttl)
  emit(id, '{"type":"end","status":"cancelled"}')
  redis.call('PEXPIRE', events_key(id), ttl)
  return {closed_as('cancelled')}
end

if action == 'again' then
  if charge == 'none' then bump(id, 'runs', -1) end
  publish(id, queue, h[3], true)
  emit(id, '{"type":"status","status":"queued","reason":"' .. reason .. '","attempt":' .. runs .. ',"at":' .. now .. '}')
  count('requeued:' .. reason)
  return {closed_as('queued')}
end

if action == 'retry' then
  local due = now + tonumber(ARGV[11])
  redis.call('HSET', record, 'status', 'retrying', 'due_at', due, 'attempt', '')
  redis.call('ZADD', retrying_key, due, id)
  emit(id, '{"type":"status","status":"retrying","reason":"' .. reason .. '","attempt":' .. runs
    .. ',"next_try_in_s":' .. (tonumber(ARGV[11]) / 1000) .. ',"at":' .. now .. '}')
  -- also frees the slot for identical cells: a later submission does not wait for the next try of this one
  hand_over(id, h[12] or '')
  count('retries:' .. reason)
  return {closed_as('retrying')}
end

redis.call('HSET', record, 'result', ARGV[9])
if status == 'succeeded' and h[5] and h[5] ~= '' then
  local cache = cache_key(h[5], ARGV[15])
  redis.call('HSET', cache, 'origin', id, 'at', now)
  redis.call('PEXPIRE', cache, cache_ttl)
  ttl = math.max(ttl, cache_ttl)
end
settle(id, status, reason, ttl)
if status == 'dead_lettered' then
  redis.call('LPUSH', dead_letters_key, ARGV[12])
  redis.call('HSET', dead_letter_index_key, id, ARGV[12])
  -- told to the log and the alert hook by whoever takes it from here
  redis.call('ZADD', alerts_key, now, id)
  count('dead_letters')
  trim_dead(tonumber(ARGV[16]), ttl)
end
if shared_with ~= 'all' then hand_over(id, shared_with == 'policy' and (h[12] or '') or nil) end
local followers = answer_followers(id, status, reason, ttl)
emit(id, '{"type":"end","status":"' .. status .. '","result":' .. ARGV[9] .. '}')
redis.call('PEXPIRE', events_key(id), ttl)
table.insert(followers, 1, closed_as('ended'))
return followers
