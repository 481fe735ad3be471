-- Note on a failed invocation that it was replayed; it is no dead letter any more, and its record stays until retention.
-- ARGV[1]  id
-- ARGV[2]  id of the new invocation
-- Result   1, or 0 when there is no such record
local key = record_key(ARGV[1])
if redis.call('EXISTS', key) == 0 then return 0 end
redis.call('HSET', key, 'replayed_as', ARGV[2])
redis.call('ZREM', dead, ARGV[1])
return 1
