-- Forget one dead letter, or all of them. ARGV: prefix, bare prefix, id or '', result ttl
-- Returns how many.
local id, ttl = ARGV[3], tonumber(ARGV[4])
local function dropped(one)
  release_values(one, ttl)
  if redis.call('PEXPIRE', job_key(one), ttl) == 1 then redis.call('HSET', job_key(one), 'dropped', now) end
end
if id ~= '' then
  if not undead(id) then return 0 end
  dropped(id)
  return 1
end
local ids = redis.call('HKEYS', dead_letter_index_key)
for _, one in ipairs(ids) do dropped(one) end
local gone = redis.call('LLEN', dead_letters_key)
redis.call('DEL', dead_letters_key, dead_letter_index_key)
return gone
