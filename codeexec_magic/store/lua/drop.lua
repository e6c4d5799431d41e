-- Forget one dead letter, or all of them. ARGV: prefix, bare prefix, id or '', result ttl
-- Returns how many.
local id, ttl = ARGV[3], tonumber(ARGV[4])
if id ~= '' then
  if not undead(id) then return 0 end
  redis.call('PEXPIRE', job_key(id), ttl)
  return 1
end
local ids = redis.call('HKEYS', P .. 'dead_letter:index')
for _, one in ipairs(ids) do redis.call('PEXPIRE', job_key(one), ttl) end
local gone = redis.call('LLEN', DEAD)
redis.call('DEL', DEAD, P .. 'dead_letter:index')
return gone
