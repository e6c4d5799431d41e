-- One job as it stands. ARGV: prefix, bare prefix, id
-- Returns {record, record of the run it shows, place in line, listeners, now}; an empty reply for an unknown job.
local id = ARGV[3]
local record = read_hash(job_key(id))
if #record == 0 then return {} end
local fields = {}
for i = 1, #record, 2 do fields[record[i]] = record[i + 1] end
local leader, queue = fields.leader, fields.queue or ''
local shown, run = {}, id
if leader then
  shown, run = read_hash(job_key(leader)), leader
end
local place = redis.call('ZRANK', queued_key(queue), run)
local listeners = redis.call('ZCOUNT', listeners_key(queue), now - LISTENING, '+inf')
return {record, shown, place and place + 1 or 0, listeners, now}
