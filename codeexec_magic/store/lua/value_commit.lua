-- A value has arrived whole: give it its name. ARGV: prefix, bare prefix, upload id, hash, size, ttl, place
-- The place is '' for a value whose bytes are in the uploaded hash, else where they are.
local upload, hash, size, ttl = value_upload_key(ARGV[3]), ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
local key = value_key(hash)
if redis.call('EXISTS', key) == 1 then
  redis.call('DEL', upload)
  extend_value(hash, ttl)
  return 'have'
end
if ARGV[7] ~= '' then redis.call('HSET', upload, 'place', ARGV[7]) end
if redis.call('EXISTS', upload) == 0 then return 'lost' end
redis.call('HSET', upload, 'size', ARGV[5])
redis.call('RENAME', upload, key)
redis.call('PEXPIRE', key, ttl)
redis.call('ZADD', values_key, now + ttl, hash)
redis.call('HSET', value_sizes_key, hash, size)
redis.call('INCRBY', value_bytes_key, size)
return 'stored'
