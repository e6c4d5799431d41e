-- Everything a monitor shows, in one round trip. Cost does not grow with the number of jobs: indexes are counted, and
-- at most WINDOW records of them are looked at.
-- ARGV: prefix, dead, samples, source, status, queue, text, offset, limit, letters offset, letters limit, text as it
--       stands in JSON, id...
-- source: all, mine (the ids given) or none
-- Returns {now, queues, totals, workers, counters, samples, jobs, more, letters}.
local WINDOW, LARGE = 400, 8192
local source, status, wanted, text, coded = ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[12]
local offset, limit = tonumber(ARGV[8]), tonumber(ARGV[9])

local announced = redis.call('HKEYS', P .. 'queues')
local names, seen = {}, {}
for _, name in ipairs({'code_execution', 'code_execution_heavy', unpack(announced)}) do
  if not seen[name] then
    seen[name] = true
    table.insert(names, name)
  end
end

local queues, listeners = {}, {}
for _, name in ipairs(names) do
  local first = redis.call('ZRANGE', queued_key(name), 0, 0, 'WITHSCORES')
  listeners[name] = redis.call('ZCOUNT', P .. 'listeners:' .. name, now - LISTENING, '+inf')
  table.insert(queues, {name, redis.call('ZCARD', queued_key(name)), first[2] or '', listeners[name]})
end

local workers = {}
local found = redis.call('ZREVRANGE', P .. 'workers', 0, 49, 'WITHSCORES')
for i = 1, #found, 2 do
  local about = redis.call('HGETALL', P .. 'worker:' .. found[i])
  if #about > 0 then table.insert(workers, {found[i], found[i + 1], about}) end
end

local function candidates()
  if source == 'none' then return {} end
  if source == 'mine' then
    local ids = {}
    for i = 13, #ARGV do table.insert(ids, ARGV[i]) end
    return ids
  end
  if status == 'running' or status == 'retrying' then return redis.call('ZRANGE', P .. status, 0, WINDOW - 1) end
  if status == 'queued' then
    local ids = {}
    for _, name in ipairs(names) do
      if wanted == '' or wanted == name then
        for _, id in ipairs(redis.call('ZRANGE', queued_key(name), 0, WINDOW - 1)) do table.insert(ids, id) end
      end
    end
    return ids
  end
  return redis.call('ZREVRANGE', P .. (status == '' and 'jobs' or 'finished'), 0, WINDOW - 1)
end

local FIELDS = {'status', 'queue', 'label', 'worker', 'submitted_at', 'queued_at', 'started_at', 'finished_at', 'runs',
  'failures', 'crashes', 'due_at', 'waited_ms', 'reason', 'leader', 'cached_age_ms', 'cancel', 'attempts', 'code_hash'}

local function small(key, field)
  if redis.call('HSTRLEN', key, field) > LARGE then return '' end
  return redis.call('HGET', key, field) or ''
end

-- the beginning of the request, where the code is; JSON of ours is plain ASCII, so it can be cut anywhere
local function head(key) return string.sub(redis.call('HGET', key, 'request') or '', 1, 1500) end

local function matches(id, h)
  if not h[1] or (status ~= '' and h[1] ~= status) or (wanted ~= '' and h[2] ~= wanted) then return false end
  if text == '' then return true end
  local about = string.lower(id .. '\n' .. (h[3] or '') .. '\n' .. (h[4] or '') .. '\n' .. (h[14] or ''))
  if string.find(about, text, 1, true) then return true end
  return string.find(string.lower(head(job_key(id))), coded, 1, true) ~= nil
end

local function row(id, h)
  local leader, run, key = h[15], id, job_key(id)
  local shown = {}
  if leader then
    run = leader
    shown = redis.call('HMGET', job_key(leader), unpack(FIELDS))
  end
  local place = h[2] and redis.call('ZRANK', queued_key(h[2]), run)
  local tail = ''
  if (leader and shown[1] or h[1]) == 'running' then
    local last = redis.call('XREVRANGE', events_key(run), '+', '-', 'COUNT', 1)
    if last[1] and #last[1][2][2] <= 2 * LARGE then tail = last[1][2][2] end
  end
  return {id, h, shown, place and place + 1 or 0, h[2] and listeners[h[2]] or 0, head(key), small(job_key(run), 'result'), tail}
end

local jobs, passed, more = {}, 0, 0
for _, id in ipairs(candidates()) do
  local h = redis.call('HMGET', job_key(id), unpack(FIELDS))
  if matches(id, h) then
    passed = passed + 1
    if passed > offset then
      if #jobs == limit then
        more = 1
        break
      end
      table.insert(jobs, row(id, h))
    end
  end
end

local function letter_matches(entry)
  if wanted ~= '' and not string.find(entry, '"queue":"' .. wanted .. '"', 1, true) then return false end
  return text == '' or (#entry <= 8 * LARGE and string.find(string.lower(entry), coded, 1, true) ~= nil)
end

local letters, first, many = {}, tonumber(ARGV[10]), tonumber(ARGV[11])
local all = wanted == '' and text == ''
local entries = redis.call('LRANGE', DEAD, all and first or 0, all and first + many - 1 or 999)
passed = 0
for _, entry in ipairs(entries) do
  if all or letter_matches(entry) then
    passed = passed + 1
    -- a letter with a large cell is read when it is opened
    if all or (passed > first and #letters < many) then
      table.insert(letters, #entry <= 8 * LARGE and entry or string.sub(entry, 1, 200))
    end
  end
end

local totals = {redis.call('ZCARD', P .. 'running'), redis.call('ZCARD', P .. 'retrying'), redis.call('LLEN', DEAD),
  redis.call('ZCARD', P .. 'jobs')}
local samples = {}
if tonumber(ARGV[3]) > 0 then samples = redis.call('LRANGE', P .. 'samples', 0, tonumber(ARGV[3]) - 1) end
return {now, queues, totals, workers, redis.call('HGETALL', P .. 'counters'), samples, jobs, more, letters}
