-- Renew the leases of one worker's running attempts.
-- ARGV: prefix, bare prefix, lease, id, attempt, id, attempt, ...
-- Returns fenced, cancel or ok for each.
even_when_full()
local answers = {}
for i = 4, #ARGV, 2 do
  local h = redis.call('HMGET', job_key(ARGV[i]), 'attempt', 'cancel')
  if h[1] ~= ARGV[i + 1] then
    table.insert(answers, 'fenced')
  else
    redis.call('ZADD', running_key, now + tonumber(ARGV[3]), ARGV[i])
    table.insert(answers, h[2] and 'cancel' or 'ok')
  end
end
return answers
