-- A worker leaves in good order. ARGV: prefix, bare prefix, worker, queue...
redis.call('DEL', worker_key(ARGV[3]))
forget_worker(ARGV[3])
for i = 4, #ARGV do redis.call('ZREM', listeners_key(ARGV[i]), ARGV[3]) end
return 1
