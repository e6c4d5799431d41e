-- Keep values for ttl at least. ARGV: prefix, bare prefix, ttl, hash... Returns the hashes of those that are gone.
local gone = {}
for i = 4, #ARGV do
  if redis.call('EXISTS', value_key(ARGV[i])) == 1 then extend_value(ARGV[i], tonumber(ARGV[3]))
  else table.insert(gone, ARGV[i]) end
end
return gone
