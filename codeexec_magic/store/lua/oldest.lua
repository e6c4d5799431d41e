-- Finished jobs that take much room, oldest first. ARGV: prefix, bare prefix, first rank, how many, bytes
-- Looks at 1000 jobs at a time, and passes over those of less than so many bytes and those that were trimmed already.
-- Returns {next rank, or -1 at the end, {id, generation, bytes of output, result, request of a job that succeeded}...}.
local LOOKED_AT = 1000
local rank, most, least = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local found = {}

local function large(id)
  local key = job_key(id)
  local h = redis.call('HMGET', key, 'status', 'trimmed', 'leader', 'generation')
  if not TERMINAL[h[1] or ''] or h[2] then return nil end
  local output = redis.call('MEMORY', 'USAGE', events_key(id), 'SAMPLES', 0) or 0
  local request = h[1] == 'succeeded' and redis.call('HSTRLEN', key, 'request') or 0
  local result = redis.call('HSTRLEN', key, 'result')
  -- Celery's result of a job that shares a run holds the output of that run once more
  local shares = h[3] and is_record(h[3]) and redis.call('HGET', job_key(h[3]), 'trimmed')
  if output + request + result < least and not shares then return nil end
  return {id, h[4] or '', output, redis.call('HGET', key, 'result') or '',
    request >= least and redis.call('HGET', key, 'request') or ''}
end

local ids = redis.call('ZRANGE', finished_key, rank, rank + LOOKED_AT - 1)
for i, id in ipairs(ids) do
  local job = is_record(id) and large(id)
  if job then table.insert(found, job) end
  if #found == most then
    table.insert(found, 1, rank + i)
    return found
  end
end
table.insert(found, 1, #ids < LOOKED_AT and -1 or rank + LOOKED_AT)
return found
