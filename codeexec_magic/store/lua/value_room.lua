-- Ask for room for a value. ARGV: prefix, bare prefix, hash, size, ttl, cap
-- Returns have (it is there, and stays for ttl at least), room, or {full, bytes used}.
local hash, size, ttl, cap = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
forget_values()
local key = value_key(hash)
if redis.call('EXISTS', key) == 1 then
  extend_value(hash, ttl)
  return {'have'}
end
local used = tonumber(redis.call('GET', value_bytes_key) or '') or 0
if used + size > cap then return {'full', used} end
return {'room'}
