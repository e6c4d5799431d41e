-- Everything a monitor shows, in one round trip. Cost does not grow with the number of jobs: indexes are counted, and
-- at most WINDOW records of them are looked at.
-- ARGV: prefix, bare prefix, query as JSON (store/monitor.py makes it):
--   samples, workers        how many of the newest
--   source                  jobs: all, mine (those in ids) or none
--   status, queue           only these; empty: any
--   queue_json              the queue as it stands in JSON
--   needles                 pairs of a text and how it stands in JSON, in small ASCII letters; a record with either of
--                           them is one that was asked for; none: any record
--   offset, limit, letters_offset, letters_limit
-- Returns {now, queues, totals, workers, counters, samples, jobs, more, letters}.
local WINDOW, LARGE = 400, 8192
local Q = cjson.decode(ARGV[3])

local names = {'code_execution', 'code_execution_heavy'}
local announced = redis.call('HKEYS', queues_key)
table.sort(announced)
for _, name in ipairs(announced) do
  if name ~= names[1] and name ~= names[2] then table.insert(names, name) end
end

local queues, listeners = {}, {}
for _, name in ipairs(names) do
  local first = redis.call('ZRANGE', queued_key(name), 0, 0, 'WITHSCORES')
  listeners[name] = redis.call('ZCOUNT', listeners_key(name), now - LISTENING, '+inf')
  table.insert(queues, {name, redis.call('ZCARD', queued_key(name)), first[2] or '', listeners[name]})
end

local workers = {}
local found = redis.call('ZREVRANGE', workers_key, 0, Q.workers - 1, 'WITHSCORES')
for i = 1, #found, 2 do
  local about = read_hash(worker_key(found[i]))
  if #about > 0 then table.insert(workers, {found[i], found[i + 1], about}) end
end

-- Ids to look through, and how many of those that match are on earlier pages.
local function candidates()
  if Q.source == 'none' then return {}, 0 end
  if Q.source == 'mine' then return Q.ids, Q.offset end
  if Q.status == 'running' or Q.status == 'retrying' then
    return redis.call('ZRANGE', Q.status == 'running' and running_key or retrying_key, 0, WINDOW - 1), Q.offset
  end
  if Q.status == 'queued' then
    local ids = {}
    for _, name in ipairs(names) do
      if #ids < WINDOW and (Q.queue == '' or Q.queue == name) then
        for _, id in ipairs(redis.call('ZRANGE', queued_key(name), 0, WINDOW - #ids - 1)) do table.insert(ids, id) end
      end
    end
    return ids, Q.offset
  end
  if Q.status == '' and Q.queue == '' and #Q.needles == 0 then
    return redis.call('ZREVRANGE', jobs_key, Q.offset, Q.offset + WINDOW - 1), 0
  end
  return redis.call('ZREVRANGE', Q.status == '' and jobs_key or finished_key, 0, WINDOW - 1), Q.offset
end

local FIELDS = {'status', 'queue', 'label', 'worker', 'submitted_at', 'queued_at', 'started_at', 'finished_at', 'runs',
  'failures', 'crashes', 'due_at', 'waited_ms', 'reason', 'leader', 'cached_age_ms', 'cancel', 'attempts', 'code_hash'}

local function small(key, field)
  if redis.call('HSTRLEN', key, field) > LARGE then return '' end
  return redis.call('HGET', key, field) or ''
end

-- the beginning of the request, where the code is; JSON of ours is plain ASCII, so it can be cut anywhere
local function head(key) return string.sub(redis.call('HGET', key, 'request') or '', 1, 1500) end

local function has(text, form)
  text = string.lower(text)
  for _, needle in ipairs(Q.needles) do
    if string.find(text, needle[form], 1, true) then return true end
  end
  return false
end

local function matches(id, h)
  if not h[1] or (Q.status ~= '' and h[1] ~= Q.status) or (Q.queue ~= '' and h[2] ~= Q.queue) then return false end
  if #Q.needles == 0 then return true end
  return has(id .. '\n' .. (h[3] or '') .. '\n' .. (h[4] or '') .. '\n' .. (h[14] or ''), 1) or has(head(job_key(id)), 2)
end

local function row(id, h)
  local leader, run, key = h[15], id, job_key(id)
  local shown = {}
  if leader then
    run = leader
    if is_record(leader) then shown = redis.call('HMGET', job_key(leader), unpack(FIELDS)) end
  end
  local place = h[2] and redis.call('ZRANK', queued_key(h[2]), run)
  local tail = ''
  if (leader and shown[1] or h[1]) == 'running' then
    local last = redis.call('XREVRANGE', events_key(run), '+', '-', 'COUNT', 1)
    if last[1] and #last[1][2][2] <= 2 * LARGE then tail = last[1][2][2] end
  end
  return {id, h, shown, place and place + 1 or 0, h[2] and listeners[h[2]] or 0, head(key), is_record(run) and small(job_key(run), 'result') or '', tail}
end

local jobs, passed, more = {}, 0, 0
local ids, before = candidates()
for _, id in ipairs(ids) do
  local there = redis.call('EXISTS', job_key(id)) == 1
  local h = is_record(id) and redis.call('HMGET', job_key(id), unpack(FIELDS)) or {there and 'not a hash'}
  if there and not h[1] then h[1] = 'missing' end  -- damaged: its readers say so
  if there and not is_record(id) then
    table.insert(jobs, {id, h, {}, 0, 0, '', '', ''})
  elseif matches(id, h) then
    passed = passed + 1
    if passed > before then
      if #jobs == Q.limit then
        more = 1
        break
      end
      table.insert(jobs, row(id, h))
    end
  end
end

-- Names of fields are the same in all entries: they are no text of the letter.
local function letter_matches(entry)
  if Q.queue ~= '' and not string.find(entry, '"queue":"' .. Q.queue_json .. '"', 1, true) then return false end
  if #Q.needles == 0 then return true end
  return #entry <= 8 * LARGE and has(entry, 2) and has((string.gsub(entry, '"[%a_]+":', '')), 2)
end

local letters, all = {}, Q.queue == '' and #Q.needles == 0
local from, upto = 0, 999
if all then from, upto = Q.letters_offset, Q.letters_offset + Q.letters_limit - 1 end
passed = 0
if Q.letters_limit > 0 then
  for _, entry in ipairs(redis.call('LRANGE', dead_letters_key, from, upto)) do
    if all or letter_matches(entry) then
      passed = passed + 1
      -- a letter with a large cell is read when it is opened
      if all or passed > Q.letters_offset then
        table.insert(letters, #entry <= 8 * LARGE and entry or string.sub(entry, 1, 200))
      end
      if #letters == Q.letters_limit then break end
    end
  end
end

local totals = {redis.call('ZCARD', running_key), redis.call('ZCARD', retrying_key), redis.call('LLEN', dead_letters_key),
  redis.call('ZCARD', jobs_key), redis.call('ZCOUNT', workers_key, now - LISTENING, '+inf')}
local samples = {}
if Q.samples > 0 then samples = redis.call('LRANGE', samples_key, 0, Q.samples - 1) end
return {now, queues, totals, workers, redis.call('HGETALL', counters_key), samples, jobs, more, letters}
