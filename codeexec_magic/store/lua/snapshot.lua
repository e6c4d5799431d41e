-- One job as it stands. ARGV: prefix, bare prefix, id
-- Returns {record, record of the run it shows, place in line, listeners, now}; an empty reply for an unknown job.
local id = ARGV[3]
local record = redis.call('HGETALL', job_key(id))
if #record == 0 then return {} end
local leader = redis.call('HGET', job_key(id), 'leader')
local shown, run = {}, id
if leader then
  shown, run = redis.call('HGETALL', job_key(leader)), leader
end
local queue = redis.call('HGET', job_key(id), 'queue')
local place = redis.call('ZRANK', queued_key(queue), run)
local listeners = redis.call('ZCOUNT', P .. 'listeners:' .. queue, now - LISTENING, '+inf')
return {record, shown, place and place + 1 or 0, listeners, now}
