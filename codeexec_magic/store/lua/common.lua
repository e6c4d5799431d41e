-- Shared by every script of the job store. Names of keys (`job_key(id)`, `running_key`), their expiries and the
-- constants LISTENING and BUCKETS, and the function `envelope` are defined by what `scripts.py` puts before this file. ARGV[1] is the
-- prefix of every key of a namespace, ARGV[2] the prefix of the keys that others know by their bare names.
-- All times are the server's, in milliseconds. Scripts name keys they derive from job ids, which a Redis Cluster would
-- refuse; Celery's Redis transport has the same bound.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local TERMINAL = {succeeded = true, failed = true, dead_lettered = true, cancelled = true}

-- Records may be damaged by others who have the server's password: such a record must not stop a script that works on
-- many jobs. A key of another type reads as a hash without any field that counts, a counter that is no number as 0.
local function is_record(id) return redis.call('TYPE', job_key(id)).ok == 'hash' end
local function read_hash(key)
  local ok, h = pcall(redis.call, 'HGETALL', key)
  return ok and h or {'status', 'not a hash'}
end
local function bump(id, field, by)
  local ok, value = pcall(redis.call, 'HINCRBY', job_key(id), field, by)
  if ok then return value end
  redis.call('HSET', job_key(id), field, by)
  return by
end

local function count(name, by) redis.call('HINCRBY', counters_key, name, by or 1) end

-- A server at its memory limit refuses every command that may need more, unless its script has written already. A queue
-- that fills the memory could then never be worked off: so what lets jobs begin and end does not wait for room.
local SMALL = 65536
local function even_when_full() redis.call('ZREM', running_key, '') end

-- Cumulative histograms in the counters hash: one field per bucket, named by its upper bound in ms.

local function observe(name, queue, ms)
  local bucket = 'inf'
  for _, bound in ipairs(BUCKETS) do
    if ms <= bound then bucket = bound break end
  end
  count('hist:' .. name .. ':' .. queue .. ':' .. bucket)
  count('hist_sum:' .. name .. ':' .. queue, math.floor(ms))
end

-- The sandbox alone decides what is kept of a cell's output, because everybody who reads it must see the same: at most
-- 10,000 events of a run and a short tail. This bound lies above that; it only stops what would be a fault.
local MOST_EVENTS = 20000

local function emit(id, event)
  redis.call('XADD', events_key(id), 'MAXLEN', '~', MOST_EVENTS, '*', 'e', event)
end

-- Delete the output of the earlier runs of a job and keep its changes of state and of leader. Nobody shows the output
-- of a run that another one follows, and a job that is retried for days must not fill the memory.
local function forget_output(id)
  for _, entry in ipairs(redis.call('XRANGE', events_key(id), '-', '+')) do
    local kind = string.match(entry[2][2], '^{"type":"(%a+)"')
    if kind ~= 'status' and kind ~= 'handover' then redis.call('XDEL', events_key(id), entry[1]) end
  end
end

-- Append the events from ARGV[at] on, the first of which has the number `first` within its attempt, but for those that
-- are among the `sent` ones already.
local function emit_numbered(id, sent, first, at)
  first = first or sent  -- a caller that numbers nothing sends every event once
  for i = at, #ARGV do
    if first + i - at >= sent then emit(id, ARGV[i]) end
  end
  redis.call('HSET', job_key(id), 'sent', math.max(sent, first + #ARGV - at + 1))
end

-- Hand a job to Celery: mark it queued and push the message that `envelope.py` defines. Record and
-- message change in one script, so no crash can leave one without the other.
--
-- At the front go jobs whose worker died or shut down: they had been next already. The index keeps the order of the
-- messages, so that the job next in line always has the lowest score.
local function publish(id, queue, label, front)
  local generation = bump(id, 'generation', 1)
  redis.call('HSET', job_key(id), 'status', 'queued', 'queued_at', now, 'attempt', '')
  local score = clock[1] * 1000 + clock[2] / 1000  -- finer than a millisecond: ties would lose the order
  if front then
    local first = redis.call('ZRANGE', queued_key(queue), 0, 0, 'WITHSCORES')
    if first[2] then score = math.min(score, first[2] - 1) end
  else
    -- a clock that was set back must not put a job before those that came earlier
    local last = redis.call('ZRANGE', queued_key(queue), -1, -1, 'WITHSCORES')
    if last[2] and tonumber(last[2]) >= score then score = last[2] + 0.001 end
  end
  redis.call('ZADD', queued_key(queue), score, id)
  redis.call(front and 'RPUSH' or 'LPUSH', messages_key(queue), envelope(id, generation, label or '', queue))
end

-- The content store. A value is a hash of numbered chunks, or of the place where its bytes are. While jobs that need it
-- wait or run, value_jobs:{hash} names them and the value has no expiry; else it has one.

local function extend_value(hash, ttl)
  local left = redis.call('PTTL', value_key(hash))
  if left >= 0 and left < ttl then
    redis.call('PEXPIRE', value_key(hash), ttl)
    redis.call('ZADD', values_key, now + ttl, hash)
  end
end

-- Take expired values off the books, a few at a time.
local function forget_values()
  for _, hash in ipairs(redis.call('ZRANGEBYSCORE', values_key, 0, now, 'LIMIT', 0, 100)) do
    local left = redis.call('PTTL', value_key(hash))
    if left == -2 then
      local size = tonumber(redis.call('HGET', value_sizes_key, hash) or '') or 0
      redis.call('DECRBY', value_bytes_key, size)
      redis.call('HDEL', value_sizes_key, hash)
      redis.call('ZREM', values_key, hash)
    else
      redis.call('ZADD', values_key, now + math.max(left, 60000), hash)
    end
  end
end

-- Keep the values that a job needs; returns the hash of one that is gone, and keeps nothing then.
local function hold_values(id, hashes)
  for hash in string.gmatch(hashes, '%x+') do
    if redis.call('EXISTS', value_key(hash)) == 0 then return hash end
  end
  for hash in string.gmatch(hashes, '%x+') do
    redis.call('SADD', value_jobs_key(hash), id)
    redis.call('PERSIST', value_key(hash))
  end
  return nil
end

local function release_values(id, ttl)
  local hashes = redis.call('HGET', job_key(id), 'values') or ''
  for hash in string.gmatch(hashes, '%x+') do
    redis.call('SREM', value_jobs_key(hash), id)
    if redis.call('EXISTS', value_jobs_key(hash)) == 0 and redis.call('PTTL', value_key(hash)) == -1 then
      redis.call('PEXPIRE', value_key(hash), ttl)
      redis.call('ZADD', values_key, now + ttl, hash)
    end
  end
end

-- Everything a finished job leaves behind gets an expiry here, so that nothing grows for ever.
local function settle(id, status, reason, ttl)
  redis.call('HSET', job_key(id), 'status', status, 'reason', reason, 'finished_at', now, 'attempt', '')
  redis.call('ZADD', finished_key, clock[1] * 1000 + clock[2] / 1000, id)
  if status ~= 'dead_lettered' then
    redis.call('PEXPIRE', job_key(id), ttl)
    release_values(id, ttl)
  end
  redis.call('PEXPIRE', events_key(id), ttl)
  count('ended:' .. status .. ':' .. reason)
end

local function release_flight(id)
  local flight = redis.call('HGET', job_key(id), 'flight')
  if flight and flight ~= '' and redis.call('GET', flight) == id then redis.call('DEL', flight) end
  return flight
end

-- Part the followers from a leader whose run does not answer for them: the first of them gets a run of its own, and the
-- others follow that run. Followers with the given retry policy stay with the leader; without a policy, nobody stays.
local function hand_over(id, policy)
  local followers = redis.call('LRANGE', followers_key(id), 0, -1)
  local flight = release_flight(id) or ''
  local cached_as = redis.call('HGET', job_key(id), 'cache_key') or ''
  redis.call('DEL', followers_key(id))
  local successor = nil
  for _, follower in ipairs(followers) do
    local key = job_key(follower)
    if redis.call('HGET', key, 'status') == 'queued' and redis.call('HGET', key, 'leader') == id then
      if policy and redis.call('HGET', key, 'retry_policy') == policy then
        redis.call('RPUSH', followers_key(id), follower)
      elseif not successor then
        successor = follower
        redis.call('HDEL', key, 'leader')
        redis.call('HSET', key, 'flight', flight, 'cache_key', cached_as)
        if flight ~= '' then redis.call('SET', flight, follower, 'NX') end
        local fields = redis.call('HMGET', key, 'queue', 'label')
        publish(follower, fields[1], fields[2])
      else
        redis.call('HSET', key, 'leader', successor)
        redis.call('RPUSH', followers_key(successor), follower)
      end
    end
  end
  if successor then emit(id, '{"type":"handover","leader":"' .. successor .. '"}') end
end

-- The leader has its answer: everyone who waits for it gets the same one. Returns their ids. The list of those who
-- share a failure is kept as long as they are: a requeue of the leader must leave them their answer.
local function answer_followers(id, status, reason, ttl)
  local answered = {}
  for _, follower in ipairs(redis.call('LRANGE', followers_key(id), 0, -1)) do
    local key = job_key(follower)
    if redis.call('HGET', key, 'status') == 'queued' and redis.call('HGET', key, 'leader') == id then
      settle(follower, status, reason, ttl)
      redis.call('PEXPIRE', key, ttl)
      table.insert(answered, follower)
    end
  end
  if status == 'succeeded' then
    redis.call('DEL', followers_key(id))
  else
    redis.call('PEXPIRE', followers_key(id), ttl)
  end
  release_flight(id)
  return answered
end

local function trim_dead(limit, ttl)
  while redis.call('LLEN', dead_letters_key) > limit do
    local entry = redis.call('RPOP', dead_letters_key)
    local ok, letter = pcall(cjson.decode, entry)
    if ok and type(letter) == 'table' and letter.task_id then
      redis.call('HDEL', dead_letter_index_key, letter.task_id)
      release_values(letter.task_id, ttl)
      redis.call('PEXPIRE', job_key(letter.task_id), ttl)
    end
    count('dead_letters_trimmed')
  end
end

-- Kombu keeps the name of every worker's control queue as long as any worker lives, which is for ever.
local function forget_worker(worker)
  redis.call('ZREM', workers_key, worker)
  redis.call('SREM', bindings_key('celery.pidbox'), '\6\22\6\22' .. worker .. '.celery.pidbox')
end

-- Take a job out of the dead letters; true when it was there.
local function undead(id)
  local entry = redis.call('HGET', dead_letter_index_key, id)
  if not entry then return false end
  redis.call('LREM', dead_letters_key, 1, entry)
  redis.call('HDEL', dead_letter_index_key, id)
  return true
end
